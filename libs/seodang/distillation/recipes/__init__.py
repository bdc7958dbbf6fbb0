"""How a teacher's signal becomes lessons: one recipe a file."""

from seodang.distillation.recipes.lessons import lessons_of
from seodang.distillation.recipes.room import Room

__all__ = ["Room", "lessons_of"]
