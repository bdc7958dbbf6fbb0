"""The examples of a job: gathered once, rendered with the teacher's tokenizer, frozen in the job folder."""

from seodang.distillation.data.encoding import ChatTokenizer, Encoded
from seodang.distillation.data.frozen import FrozenData, Split, freeze, open_frozen
from seodang.distillation.data.gathering import Gathered, gather
from seodang.distillation.data.reading import Reader

__all__ = ["ChatTokenizer", "Encoded", "FrozenData", "Gathered", "Reader", "Split", "freeze", "gather", "open_frozen"]
