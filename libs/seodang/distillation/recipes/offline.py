"""Offline: the teacher scores the data once into the target store; training reads the store."""

from collections.abc import Sequence

from seodang.distillation.loss import Signal
from seodang.distillation.recipes.room import Room, objective_of
from seodang.distillation.spec import Recipe
from seodang.distillation.targets import ShardSignals, plan_units, score_units
from seodang.distillation.training.batches import Batch
from seodang.distillation.training.student import Student


class Offline:
    """Lessons from the store; making them is the scoring."""

    def __init__(self, room: Room, recipe: Recipe) -> None:
        self.objective = objective_of(recipe)
        self.room = room
        self._plan = room.plan()
        self.signals = [self._score(number, recipe) for number in range(len(room.teachers))]

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        """See ``Lessons``."""
        del student
        batches = self._plan.batches(step)
        taken = self.room.group.takes(len(batches))
        return [
            (
                batch,
                self.room.mixed([signals.at(batch.rows_N) for signals in self.signals]) if number in taken else None,
            )
            for number, batch in enumerate(batches)
        ]

    def _score(self, number: int, recipe: Recipe) -> ShardSignals:
        room = self.room
        store = room.store("train", number, recipe.target, room.train.sha256, temperature=recipe.temperature)
        progress = room.report.progress("", int(room.train.positions.sum()), "positions")
        shard = score_units(store, plan_units(room.train), room.teachers[number], progress.add)
        return ShardSignals(shard, recipe.target, store.head_to_multiply())
