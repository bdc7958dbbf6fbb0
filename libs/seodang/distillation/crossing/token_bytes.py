"""The bytes that each token of a text stands for.

A tokenizer's own offsets count characters, and a character that several tokens share has one offset for all of them. So
offsets are computed from the tokens themselves, and believed only if their bytes joined are the text's.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from seodang.base.errors import InvalidInput, Unsupported

Ends = npt.NDArray[np.int64]

_BYTE_TOKEN: Final = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SENTENCE_PIECE: Final = frozenset({"Metaspace", "ByteFallback", "Replace", "Fuse", "Strip"})
_SPACE: Final = "\u2581"
_SHOWN: Final = 60


class TokenBytes:
    """The tokens of a byte-level BPE, or of a SentencePiece model, as bytes.

    Args:
        core: a fast tokenizer of transformers.
        whose: for messages, such as "the student's".

    Raises:
        Unsupported: its decoder is of another family.
    """

    def __init__(self, core: Any, whose: str) -> None:
        from transformers.convert_slow_tokenizer import bytes_to_unicode

        self._whose = whose
        decoder = json.loads(core.backend_tokenizer.to_str())["decoder"] or {}
        kinds = {part["type"] for part in decoder.get("decoders", [decoder]) if "type" in part}
        if not kinds or not (kinds == {"ByteLevel"} or kinds <= _SENTENCE_PIECE):
            raise Unsupported(
                f"{whose} tokenizer decodes by {', '.join(sorted(kinds)) or 'nothing'}, which does not tell the bytes "
                "of a token: crossing tokenizers needs byte-level BPE or SentencePiece",
                metadata={"field": "spec.shape.tokenizer"},
            )
        to_byte = {char: byte for byte, char in bytes_to_unicode().items()} if kinds == {"ByteLevel"} else None
        added = {index: token.content.encode() for index, token in core.added_tokens_decoder.items()}
        self._pieces = {
            index: added[index] if index in added else _piece(token, to_byte)
            for token, index in core.get_vocab().items()
        }

    def ends(self, ids: Sequence[int], text: str) -> Ends:
        """Where each token ends in the text's bytes. A space that the tokenizer puts before every text has none.

        Raises:
            InvalidInput: the tokens say other bytes than the text.
        """
        pieces = [self._pieces[index] for index in ids]
        said, wanted = b"".join(pieces), text.encode()
        put_before = said == b" " + wanted
        if said != wanted and not put_before:
            at = next((n for n, (one, two) in enumerate(zip(said, wanted, strict=False)) if one != two), 0)
            raise InvalidInput(
                f"{self._whose} tokenizer writes {_shown(wanted, at)} as tokens that say {_shown(said, at)}: it "
                "normalises the text or lacks some of its characters, so no byte of it has a clear token. Use a "
                "tokenizer that keeps every byte, or data that it keeps",
                field="spec.shape.tokenizer",
                reason="TEXT_CHANGED_BY_TOKENIZER",
            )
        ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        return np.maximum(ends - put_before, 0)


def _piece(token: str, to_byte: dict[str, int] | None) -> bytes:
    if to_byte is not None:
        # A character outside the alphabet stands for no byte; what it then says is seen to differ from the text.
        return bytes(to_byte[char] for char in token if char in to_byte)
    if match := _BYTE_TOKEN.fullmatch(token):
        return bytes([int(match[1], 16)])
    return token.replace(_SPACE, " ").encode()


def _shown(text: bytes, at: int) -> str:
    """The text around a byte, for a message."""
    start = max(at - _SHOWN // 2, 0)
    return repr(text[start : start + _SHOWN].decode(errors="replace"))
