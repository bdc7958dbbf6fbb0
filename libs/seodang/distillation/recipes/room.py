"""What every recipe works with."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import torch

from seodang.distillation.base_model import Base
from seodang.distillation.data import ChatTokenizer, Encoded, FrozenData
from seodang.distillation.folder import JobFolder
from seodang.distillation.group import ALONE, Group
from seodang.distillation.loss import MixedSignal, Objective, Signal
from seodang.distillation.report import Report
from seodang.distillation.spec import JobSpec, Recipe, Target
from seodang.distillation.targets import TargetIdentity, TargetStore
from seodang.distillation.teacher import TeacherConnection
from seodang.distillation.training.batches import MICRO_TOKENS, Batch, Indices, micro_batches, plan_steps


@dataclass(frozen=True)
class Room:
    """A job's spec, data, students' tokenizer and teachers, whom to tell, and where the students are."""

    folder: JobFolder
    spec: JobSpec
    data: FrozenData
    tokenizer: ChatTokenizer
    teachers: Sequence[TeacherConnection]
    report: Report
    device: torch.device
    vocabulary_size: int
    """Of the students."""
    base: Base | None = None
    """What the students' adapters are put on; None if they are trained from nothing."""
    group: Group = ALONE
    """Who trains together; the job's other work is rank 0's alone."""

    @property
    def train(self) -> Encoded:
        """The training sequences, as students read them."""
        return self.data.encoded["train"]

    @property
    def student_tokenizer(self) -> Path:
        """The files of the tokenizer that students have, theirs or the teacher's."""
        return self.folder.own_tokenizer if self.spec.tokenizer else self.folder.tokenizer

    def store(
        self,
        purpose: str,
        number: int,
        target: Target,
        data_sha256: str,
        *,
        temperature: float,
        packed: bool = True,
        candidates: bool = False,
    ) -> TargetStore:
        """The store of one teacher's signal; recipes that need the same signal share it.

        Args:
            purpose: what it is for, such as "train"; part of the folder's name.
            number: of the teacher.
            packed: whether log-probabilities may be rounded to a byte on their way.
            candidates: whether the student chooses the tokens.
        """
        identity = TargetIdentity.of(
            self.teachers[number].identity,
            target,
            temperature=temperature,
            seed=self.spec.seed,
            packed=packed,
            candidates=candidates,
            data_sha256=data_sha256,
        )
        kind = hashlib.sha256(msgspec.json.encode((target, temperature))).hexdigest()[:8]
        return TargetStore(self.folder.targets(f"{purpose}-{number}-{kind}"), identity)

    def own_part(self, name: str) -> str:
        """What this rank writes for itself, of a name that the others use too."""
        return self.group.part(name, self.group.rank)

    def plan(self) -> "StepPlan":
        """The order in which the training sequences are read."""
        return StepPlan(self.train, self.spec.budget.tokens_per_step, self.spec.seed, self.group.size)

    def mixed(self, signals: Sequence[Signal]) -> Signal:
        """The signals of all teachers as one."""
        if len(signals) == 1:
            return signals[0]
        return MixedSignal(tuple(signals), tuple(teacher.weight or 1.0 for teacher in self.spec.teachers))


def objective_of(recipe: Recipe) -> Objective:
    """What a recipe with a teacher's signal minimises."""
    return Objective(recipe.divergence, recipe.beta, recipe.cross_entropy_weight, recipe.temperature)


class StepPlan:
    """The sequences of each step. Steps are asked for in order, but may begin anywhere.

    Args:
        ranks: that share the batches of a step; there are then batches for all of them.
    """

    def __init__(self, encoded: Encoded, tokens_per_step: int, seed: int, ranks: int = 1) -> None:
        self._encoded, self._tokens, self._seed = encoded, tokens_per_step, seed
        self._micro_tokens = MICRO_TOKENS if ranks == 1 else min(MICRO_TOKENS, -(-tokens_per_step // ranks))
        self._next = 0
        self._steps: Iterator[Indices] = iter(())

    def indices(self, step: int) -> Indices:
        """Which sequences the step reads."""
        if step != self._next or step == 0:
            steps = plan_steps(self._encoded.lengths, self._tokens, self._seed)
            self._steps = islice(steps, step, None)
        self._next = step + 1
        return next(self._steps)

    def batches(self, step: int) -> list[Batch]:
        """The step's batches; their rows are numbered over all the data."""
        return micro_batches(self._encoded, self.indices(step), self._micro_tokens)

    def selected(self, step: int) -> tuple[Encoded, list[Batch]]:
        """The step's sequences on their own, and batches of them; rows are numbered within the step."""
        chosen = self._encoded.select(self.indices(step))
        return chosen, self.divided(chosen)

    def divided(self, sequences: Encoded) -> list[Batch]:
        """All of a step's sequences as batches; rows are numbered within them."""
        return micro_batches(sequences, np.arange(len(sequences)), self._micro_tokens)
