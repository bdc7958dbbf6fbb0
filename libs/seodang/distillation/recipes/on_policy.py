"""On-policy: the student answers the prompts, the teacher scores the student's own answers."""

from collections.abc import Sequence
from typing import Final

import msgspec

from seodang.distillation.data import Encoded
from seodang.distillation.folder import write_whole
from seodang.distillation.loss import Signal
from seodang.distillation.recipes.live import LiveTeachers
from seodang.distillation.recipes.room import Room, objective_of
from seodang.distillation.spec import Recipe
from seodang.distillation.training.batches import Batch
from seodang.distillation.training.sampler import sample
from seodang.distillation.training.student import Student

# A student that does not find its end yet must not fill the context.
LONGEST_ANSWER_FACTOR: Final = 1.5


class OnPolicy:
    """Lessons on what the student says now."""

    def __init__(self, room: Room, recipe: Recipe, subject: str) -> None:
        self.objective = objective_of(recipe)
        self._room = room
        self._plan = room.plan()
        self._live = LiveTeachers(room, recipe, subject)
        self._rollouts = room.folder.training(subject) / "rollouts"
        self._max_new_tokens = int(room.train.positions.max() * LONGEST_ANSWER_FACTOR)

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        """See ``Lessons``."""
        answered = self._answered(step, student)
        return self._live.lessons(step, answered, self._plan.divided(answered), student)

    def _answered(self, step: int, student: Student) -> Encoded:
        """The step's prompts with the student's answers, which are kept: a step done again samples nothing. Each rank
        asks the student for every Nth of them.
        """
        train, group = self._room.train, self._room.group
        prompts = [train.ids(index)[: train.answers(index)[0][0]].tolist() for index in self._plan.indices(step)]
        shares = [range(rank, len(prompts), group.size) for rank in range(group.size)]
        files = [self._rollouts / f"{group.part(f'{step:08d}', rank)}.json" for rank in range(group.size)]
        kept = files[group.rank].exists()
        if group.any(not kept):
            numbers = [] if kept else shares[group.rank]
            said = self._sampled(step, [prompts[number] for number in numbers], numbers, student)
            if not kept:
                write_whole(files[group.rank], msgspec.json.encode(said))
            group.wait()
        answers: dict[int, list[int]] = {}
        for share, file in zip(shares, files, strict=True):
            answers |= zip(share, msgspec.json.decode(file.read_bytes(), type=list[list[int]]), strict=True)
        return Encoded.of([([*prompt, *answers[n]], len(prompt)) for n, prompt in enumerate(prompts)])

    def _sampled(
        self, step: int, prompts: list[list[int]], numbers: Sequence[int], student: Student
    ) -> list[list[int]]:
        return sample(
            student,
            prompts,
            end_id=self._room.tokenizer.end_id,
            max_new_tokens=self._max_new_tokens,
            temperature=1.0,
            seed=(self._room.spec.seed * 1_000_003 + step) % 2**31,
            numbers=numbers,
        )
