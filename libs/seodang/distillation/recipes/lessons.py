"""From a recipe's kind to its lessons."""

from seodang.distillation.recipes.cross_tokenizer import CrossTokenizer, CrossTokenizerOnline
from seodang.distillation.recipes.hidden_states import HiddenStates
from seodang.distillation.recipes.labels import Labels
from seodang.distillation.recipes.offline import Offline
from seodang.distillation.recipes.on_policy import OnPolicy
from seodang.distillation.recipes.online import Online
from seodang.distillation.recipes.room import Room
from seodang.distillation.recipes.sequence_level import sequence_level
from seodang.distillation.spec import Recipe
from seodang.distillation.training.engine import Lessons


def lessons_of(recipe: Recipe, room: Room, subject: str) -> Lessons:
    """What a subject is taught. Where the teacher is needed beforehand, it is asked now."""
    match recipe.kind:
        case "offline":
            return Offline(room, recipe)
        case "online":
            return Online(room, recipe, subject)
        case "on_policy":
            return OnPolicy(room, recipe, subject)
        case "sequence_level":
            return sequence_level(room)
        case "no_teacher":
            return Labels(room.train, room.spec.budget.tokens_per_step, room.spec.seed, room.group.size)
        case "hidden_states":
            return HiddenStates(room, recipe)
        case "cross_tokenizer":
            return CrossTokenizer(room, recipe)
        case "cross_tokenizer_online":
            return CrossTokenizerOnline(room, recipe, subject)
