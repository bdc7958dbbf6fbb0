"""How a teacher's signal becomes lessons: one recipe a file."""

from seodang.distillation.recipes.hidden_states import HiddenStates
from seodang.distillation.recipes.lessons import lessons_of
from seodang.distillation.recipes.room import Room

__all__ = ["HiddenStates", "Room", "lessons_of"]
