"""What vLLM streams: lines of server-sent events, each a few tokens of one completion."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from seodang.base.errors import Unavailable
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import TokenLogprob, TopToken

MAX_LINE_BYTES: Final = 2**20
RETRY_S: Final = 1.0
_DONE: Final = b"[DONE]"
_TOKEN: Final = "token_id:"
_LEAST: Final = -9999.0
"""vLLM's word for minus infinity, which JSON has not."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens that have been drawn, and with the last of them how it ended there."""

    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()
    finish_reason: str = ""
    cached_tokens: int = 0
    """Of the prompt; told with the last tokens, if the server tells it at all."""

    def drawn(self, *, wanted: bool) -> list[tuple[int, TokenLogprob | None]]:
        """Each token, with its log-probabilities if they are ``wanted``; ``Unavailable`` if they are not there."""
        if not wanted:
            return [(token, None) for token in self.token_ids]
        if [each.chosen.token_id for each in self.logprobs] != list(self.token_ids):
            raise lost("the external server's log-probabilities are not of the tokens that it drew")
        return list(zip(self.token_ids, self.logprobs, strict=True))


class _Logprobs(msgspec.Struct):
    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float] | None]


class _Choice(msgspec.Struct):
    token_ids: list[int]
    logprobs: _Logprobs | None = None
    finish_reason: str | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens_details: _PromptDetails | None = None


class _Error(msgspec.Struct):
    message: str


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: _Error | None = None


_chunks = msgspec.json.Decoder(_Chunk)


def lost(what: str) -> Unavailable:
    """A request that was under way and came to no end."""
    return Unavailable(f"the request was lost: {what}; send it again", retry_after_s=RETRY_S, reason="RANKS_LOST")


async def pieces(body: AsyncIterator[bytes], tokenizer: Tokenizer, top: int) -> AsyncIterator[Piece]:
    """The pieces of one completion, the last one with its end.

    Raises:
        Unavailable: the stream told of an error, broke off before its end, or is none of vLLM's.
    """
    last: Piece | None = None
    cached_tokens = 0
    done = False
    async for data in _events(body):
        if data == _DONE and last is not None:
            yield replace(last, cached_tokens=cached_tokens)
            done = True  # read on to the end, so that the connection serves again
        if data == _DONE or done:
            continue
        chunk = _read(data)
        cached_tokens = _cached(chunk) or cached_tokens
        for choice in chunk.choices:
            piece = _piece(choice, tokenizer, top)
            if piece.finish_reason:
                last = piece  # how much of the prompt was cached comes after it
            else:
                yield piece
    if not done:
        raise lost("the external server's stream broke off before its end")


async def _events(body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The data of each event. Lines end at newlines alone: JSON may hold what Unicode calls a line's end."""
    held = b""
    async for part in body:
        *lines, held = (held + part).split(b"\n")
        if len(held) > MAX_LINE_BYTES:
            raise lost(f"the external server sent a line of more than {MAX_LINE_BYTES} bytes")
        for line in lines:
            if line.startswith(b"data:"):
                yield line.removeprefix(b"data:").strip()


def _read(data: bytes) -> _Chunk:
    try:
        chunk = _chunks.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise lost(f"the external server sent what is none of vLLM's events ({error})") from error
    if chunk.error is not None:
        raise lost(f"the external server says {chunk.error.message!r}")
    return chunk


def _cached(chunk: _Chunk) -> int:
    details = chunk.usage.prompt_tokens_details if chunk.usage else None
    return (details.cached_tokens or 0) if details else 0


def _piece(choice: _Choice, tokenizer: Tokenizer, top: int) -> Piece:
    if wrong := [token for token in choice.token_ids if not 0 <= token < tokenizer.vocab_size]:
        raise lost(
            f"the external server drew token {wrong[0]}, and the vocabulary ends at {tokenizer.vocab_size - 1}: "
            "it serves another model than the folder's"
        )
    logprobs = () if choice.logprobs is None else _logprobs(choice.logprobs, tokenizer, top)
    return Piece(tuple(choice.token_ids), logprobs, choice.finish_reason or "")


def _logprobs(found: _Logprobs, tokenizer: Tokenizer, top: int) -> tuple[TokenLogprob, ...]:
    def entry(name: str, value: float) -> TopToken:
        token = int(name.removeprefix(_TOKEN))
        return TopToken(token, value if value > _LEAST else float("-inf"), tokenizer.piece(token))

    def ranked(alternatives: dict[str, float] | None) -> tuple[TopToken, ...]:
        # vLLM adds the drawn token to the likeliest ones.
        best = sorted((alternatives or {}).items(), key=lambda item: -item[1])[:top]
        return tuple(entry(name, value) for name, value in best)

    try:
        rows = zip(found.tokens, found.token_logprobs, found.top_logprobs, strict=True)
        return tuple(TokenLogprob(entry(name, value), ranked(others)) for name, value, others in rows)
    except (ValueError, IndexError) as error:
        raise lost(f"the external server's log-probabilities name no tokens ({error})") from error
