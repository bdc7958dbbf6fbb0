"""Log-probabilities of generated tokens, in the two forms that OpenAI gives them."""

import codecs
from collections.abc import Iterable

from seodang.api.inference.v1 import generate_pb2


def chat_logprobs(tokens: Iterable[generate_pb2.GeneratedToken]) -> dict[str, object]:
    """The form of chat completions: one entry a token, with its bytes and its alternatives."""
    content = [
        {
            **_entry(token.piece, token.logprob),
            "top_logprobs": [_entry(other.piece, other.logprob) for other in token.alternatives],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


class TextLogprobs:
    """The form of text completions: parallel lists. Offsets go on from one call to the next."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._offset = 0

    def of(self, tokens: Iterable[generate_pb2.GeneratedToken]) -> dict[str, list[object]]:
        """The lists for the next tokens of the completion."""
        lists: dict[str, list[object]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
        for token in tokens:
            lists["tokens"].append(_text(token.piece))
            lists["token_logprobs"].append(token.logprob)
            lists["top_logprobs"].append({_text(other.piece): other.logprob for other in token.alternatives})
            lists["text_offset"].append(self._offset)
            self._offset += len(self._decoder.decode(token.piece))
        return lists


def _entry(piece: bytes, logprob: float) -> dict[str, object]:
    return {"token": _text(piece), "logprob": logprob, "bytes": list(piece)}


def _text(piece: bytes) -> str:
    return piece.decode("utf-8", "replace")
