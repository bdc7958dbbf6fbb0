"""Lessons from right answers alone: no teacher's (the data's own), or sequence-level (the teacher's)."""

from collections.abc import Sequence

from seodang.distillation.data import Encoded
from seodang.distillation.loss import Objective, Signal
from seodang.distillation.recipes.room import StepPlan
from seodang.distillation.training.batches import Batch
from seodang.distillation.training.student import Student


class Labels:
    """Cross-entropy on the answers of some sequences."""

    objective = Objective(cross_entropy_weight=1.0)

    def __init__(self, encoded: Encoded, tokens_per_step: int, seed: int, ranks: int = 1) -> None:
        self._plan = StepPlan(encoded, tokens_per_step, seed, ranks)

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        """See ``Lessons``."""
        del student
        return [(batch, None) for batch in self._plan.batches(step)]
