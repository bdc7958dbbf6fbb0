"""The sampling fields that chat and text completions share, and the mesh's messages for them."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from seodang.api.inference.v1 import generate_pb2
from seodang.base.errors import InvalidInput
from seodang.gateway.openai.body import Body, Text

_Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
_SAMPLING: Final = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
)
_Int64 = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class StreamOptions(Body):
    """Options of a streamed answer."""

    include_usage: bool = False
    """End with a chunk that holds no choice and the usage."""
    include_obfuscation: bool | None = None
    """Accepted, without effect: it is about hiding token lengths on the way to OpenAI."""


class SamplingBody(Body):
    """How to draw tokens and when to stop. The server that holds the model checks the ranges."""

    model: Annotated[Text, Field(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Literal[1] | None = None
    """Several answers are several requests: the server computes their common prompt once."""
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    """Token id, in decimal, to what is added to its logit."""
    seed: _Int64 | None = None
    stop: Text | list[Text] | None = None
    max_tokens: _Count | None = None

    # Beyond OpenAI, under the names that other open servers use.
    top_k: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    stop_token_ids: list[Annotated[int, Field(ge=0, le=2**32 - 1)]] | None = None
    ignore_eos: bool | None = None
    priority: Annotated[int, Field(ge=-100, le=100)] | None = None

    # Accepted, without effect.
    user: Any = None

    def sampling(self) -> generate_pb2.Sampling:
        """How to draw; what is unset stays the model's own default."""
        given = {name: value for name in _SAMPLING if (value := getattr(self, name)) is not None}
        return generate_pb2.Sampling(**given, logit_bias=_biases(self.logit_bias or {}))

    def stopping(self) -> generate_pb2.Stopping:
        """When to stop."""
        strings = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return generate_pb2.Stopping(
            strings=strings, token_ids=self.stop_token_ids or [], ignore_end_tokens=self.ignore_eos
        )

    def includes_usage(self) -> bool:
        """Whether a streamed answer ends with its usage.

        Raises:
            InvalidInput: ``stream_options`` without ``stream``.
        """
        if self.stream_options is not None and not self.stream:
            raise InvalidInput(
                "stream_options needs stream=true: set it, or leave the options out", field="stream_options"
            )
        return self.stream_options is not None and self.stream_options.include_usage


def _biases(given: dict[str, float]) -> dict[int, float]:
    biases: dict[int, float] = {}
    for token, bias in given.items():
        if not (token.isascii() and token.isdigit()) or int(token) >= 2**32:
            raise InvalidInput(f"logit_bias: {token!r} must be a token id in decimal", field="logit_bias")
        biases[int(token)] = bias
    return biases
