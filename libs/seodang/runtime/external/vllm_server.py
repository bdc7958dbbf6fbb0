"""A vLLM server over HTTP: what it serves, whether it lives, and its streams of tokens."""

import math
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import msgspec

from seodang.base.errors import Exhausted, InvalidInput, SeodangError, Unavailable, Unsupported
from seodang.runtime.external.piece import RETRY_S, Piece, lost, pieces
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import ExternalServer

CONNECT_S: Final = 5.0
ANSWER_S: Final = 10.0
"""For questions that need no computation."""
PROBE_S: Final = 60.0
"""For one token, of a server that may be full."""
MESSAGE_CHARACTERS: Final = 300
# Of one token left by a filter, the model's own log-probability is below 0, and what the filter makes of it is 0.
_PROOF: Final[dict[str, Any]] = {
    "max_tokens": 1, "temperature": 1.0, "top_k": 1, "ignore_eos": True, "stream": True,
    "return_token_ids": True, "return_tokens_as_token_ids": True, "logprobs": 0,
}  # fmt: skip
_PROOF_PROMPTS: Final = (0, 1, 2)
"""That a model is so sure as to round to 0 after each of them will not happen."""
_CERTAIN: Final = -1e-6
_FIELDS: Final = {
    "logprobs": "top_logprobs",
    "structured_outputs": "constraint",
    "temperature": "sampling.temperature",
    "logit_bias": "sampling.logit_bias",
}


@dataclass(frozen=True)
class ServedThere:
    """A model under the server's own name for it."""

    id: str
    context_tokens: int


class _Listed(msgspec.Struct):
    id: str
    max_model_len: int | None = None
    parent: str | None = None
    """Of an adapter: the model that it adapts."""


class _Listing(msgspec.Struct):
    data: list[_Listed]


class VllmServer:
    """One server; every failure is an error of the tree that names its address."""

    def __init__(self, server: ExternalServer) -> None:
        self._server = server
        # A stream may be silent for as long as the server has others to serve: the caller's deadline ends it.
        self._client = httpx.AsyncClient(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.api_key}"} if server.api_key else {},
            timeout=httpx.Timeout(CONNECT_S, read=None),
            limits=httpx.Limits(max_connections=None),  # the waiting room counts requests
        )

    def __str__(self) -> str:
        return f"the external server {self._server.url}"

    async def close(self) -> None:
        """Ends every connection."""
        await self._client.aclose()

    async def served(self) -> ServedThere:
        """The model that is meant, with its context.

        Raises:
            Unavailable: the server does not answer.
            InvalidInput: it has no such model, several where none is named, or it is no vLLM.
        """
        response = await self._get("/v1/models")
        try:
            models = msgspec.json.decode(response.content, type=_Listing).data
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"{self} lists no models as vLLM does ({error})", field="external.url") from error
        wanted = self._server.model
        found = [each for each in models if (each.id == wanted if wanted else each.parent is None)]
        if len(found) != 1:
            names = ", ".join(each.id for each in models) or "none"
            asked = f"no model {wanted!r}" if wanted else f"{len(found)} models where none is named"
            raise InvalidInput(f"{self} has {asked}: name one of {names}", field="external.model")
        adapted = [each for each in models if each.id == found[0].parent]
        context = next((each.max_model_len for each in (found[0], *adapted) if each.max_model_len), None)
        if context is None:
            raise InvalidInput(f"{self} does not tell its context as vLLM does (max_model_len)", field="external.url")
        return ServedThere(found[0].id, context)

    async def check(self) -> None:
        """``Unavailable`` if the server says that it does not live, or says nothing."""
        await self._get("/health")

    async def prove(self, served: ServedThere, tokenizer: Tokenizer) -> None:
        """Completes a real token: ``/health`` and ``/v1/models`` answer even while nothing can be generated.

        Raises:
            Unavailable: it does not.
            InvalidInput: what it calls log-probabilities are not the model's own.
        """
        for prompt in _PROOF_PROMPTS:
            if -math.inf < (logprob := await self._one_logprob(served, tokenizer, prompt)) < _CERTAIN:
                return
        raise InvalidInput(
            f"{self} gives the likeliest token {logprob:g} as log-probability, which is not the model's: start vLLM "
            "with --logprobs-mode raw_logprobs",
            field="external.url",
        )

    async def _one_logprob(self, served: ServedThere, tokenizer: Tokenizer, prompt: int) -> float:
        body = _PROOF | {"model": served.id, "prompt": [prompt]}
        timeout = httpx.Timeout(CONNECT_S, read=PROBE_S)
        drawn = [piece async for piece in self._stream(body, tokenizer, 0, timeout)]
        logprobs = [logprob for piece in drawn for _, logprob in piece.drawn(wanted=True)]
        if len(logprobs) != 1 or logprobs[0] is None:
            raise Unavailable(f"{self} did not complete one token, but {drawn}", retry_after_s=RETRY_S)
        return logprobs[0].chosen.logprob

    def stream(self, body: dict[str, Any], tokenizer: Tokenizer) -> AsyncGenerator[Piece, None]:
        """A completion. Closing the iterator closes the connection, which makes vLLM end the request.

        Raises:
            Unavailable: the server is not there, or the stream broke; safe to send again.
            Exhausted: it has no room.
            Unsupported: it refuses the request.
        """
        return self._stream(body, tokenizer, body.get("logprobs") or 0, self._client.timeout)

    async def _stream(
        self, body: dict[str, Any], tokenizer: Tokenizer, top: int, timeout: httpx.Timeout
    ) -> AsyncGenerator[Piece, None]:
        try:
            async with self._client.stream("POST", "/v1/completions", json=body, timeout=timeout) as response:
                if response.status_code != httpx.codes.OK:
                    await response.aread()
                    raise self._refusal(response)
                async for piece in pieces(response.aiter_bytes(), tokenizer, top):
                    yield piece
        except httpx.HTTPError as error:
            raise lost(f"{self}: {_named(error)}") from error

    async def _get(self, path: str) -> httpx.Response:
        try:
            response = await self._client.get(path, timeout=httpx.Timeout(CONNECT_S, read=ANSWER_S))
        except httpx.HTTPError as error:
            raise Unavailable(f"{self} does not answer: {_named(error)}", retry_after_s=RETRY_S) from error
        if response.status_code != httpx.codes.OK:
            raise self._refusal(response)
        return response

    def _refusal(self, response: httpx.Response) -> SeodangError:
        """What a status of HTTP means for a caller of ours."""
        status = response.status_code
        said = f"{self} answers {status}: {_message(response)}"
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return Exhausted(said, retry_after_s=RETRY_S)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return Unavailable(f"{said}; the operator must set its key", retry_after_s=RETRY_S)
        if status in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY):
            return Unsupported(
                f"{said}; leave that out, start vLLM so that it takes it, or serve with our own engine",
                metadata=_field(response),
            )
        return Unavailable(said, retry_after_s=RETRY_S)


def _named(error: httpx.HTTPError) -> str:
    """Some of httpx's errors have no text of their own."""
    return f"{type(error).__name__} {error}".strip()


def _field(response: httpx.Response) -> dict[str, str]:
    """The contract's name of what vLLM says is wrong."""
    try:
        name = response.json()["error"]["param"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {"field": _FIELDS[name]} if name in _FIELDS else {}


def _message(response: httpx.Response) -> str:
    """vLLM's own words, or the beginning of whatever came."""
    try:
        content = response.json()
        said = content["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = response.text
    return str(said)[:MESSAGE_CHARACTERS].strip() or "nothing"
