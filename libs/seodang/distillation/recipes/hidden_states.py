"""Hidden states: offline from stored states, and the student's own last states follow the teacher's besides."""

from seodang.distillation.recipes.offline import Offline
from seodang.distillation.training.matching import StateMatching
from seodang.distillation.training.student import Student


class HiddenStates(Offline):
    """The states are the whole distribution, so the divergence of the recipe is exact; the matching is added to it."""

    def matching(self, student: Student) -> StateMatching:
        """What is trained beside the student."""
        head = self.signals[0].head
        return StateMatching(student.head_VH.shape[1], head.shape[1], self.room.spec.seed).to(student.device)
