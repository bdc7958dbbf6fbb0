"""The examples of a job: gathered once, rendered with the teacher's tokenizer, frozen in the job folder."""

from seodang.distillation.data.encoding import Encoded, TeacherTokenizer
from seodang.distillation.data.frozen import FrozenData, Split, freeze, open_frozen
from seodang.distillation.data.gathering import Gathered, gather

__all__ = ["Encoded", "FrozenData", "Gathered", "Split", "TeacherTokenizer", "freeze", "gather", "open_frozen"]
