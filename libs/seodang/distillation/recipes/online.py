"""Online: the teacher scores each step's sequences while the student trains."""

from collections.abc import Sequence

from seodang.distillation.loss import Signal
from seodang.distillation.recipes.live import LiveTeachers
from seodang.distillation.recipes.room import Room, objective_of
from seodang.distillation.spec import Recipe
from seodang.distillation.training.batches import Batch
from seodang.distillation.training.student import Student


class Online:
    """Lessons that are scored when they are due."""

    def __init__(self, room: Room, recipe: Recipe, subject: str) -> None:
        self.objective = objective_of(recipe)
        self._plan = room.plan()
        self._live = LiveTeachers(room, recipe, subject)

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        """See ``Lessons``."""
        sequences, batches = self._plan.selected(step)
        return self._live.lessons(step, sequences, batches, student)
