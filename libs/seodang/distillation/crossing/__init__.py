"""Where two tokenizers agree: the bytes of every token, and the spans of a text that both of them bound."""

from seodang.distillation.crossing.spans import Spans, align, align_answers
from seodang.distillation.crossing.token_bytes import Ends, TokenBytes

__all__ = ["Ends", "Spans", "TokenBytes", "align", "align_answers"]
