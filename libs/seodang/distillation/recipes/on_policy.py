"""On-policy: the student answers the prompts, the teacher scores the student's own answers."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from seodang.distillation.data import Encoded
from seodang.distillation.folder import write_whole
from seodang.distillation.loss import Signal
from seodang.distillation.recipes.live import LiveTeachers
from seodang.distillation.recipes.room import Room, objective_of
from seodang.distillation.spec import Recipe
from seodang.distillation.training.batches import Batch, micro_batches
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
        batches = micro_batches(answered, np.arange(len(answered)))
        return self._live.lessons(step, answered, batches, student)

    def _answered(self, step: int, student: Student) -> Encoded:
        """The step's prompts with the student's answers, which are kept: a step done again samples nothing."""
        train, chosen = self._room.train, self._plan.indices(step)
        prompts = [train.ids(index)[: train.answers(index)[0][0]].tolist() for index in chosen]
        kept = self._rollouts / f"{step:08d}.json"
        if not kept.exists():
            write_whole(kept, msgspec.json.encode(self._sampled(step, prompts, student)))
        answers = msgspec.json.decode(kept.read_bytes(), type=list[list[int]])
        return Encoded.of([([*prompt, *answer], len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)])

    def _sampled(self, step: int, prompts: list[list[int]], student: Student) -> list[list[int]]:
        return sample(
            student,
            prompts,
            end_id=self._room.tokenizer.end_id,
            max_new_tokens=self._max_new_tokens,
            temperature=1.0,
            seed=(self._room.spec.seed * 1_000_003 + step) % 2**31,
        )
