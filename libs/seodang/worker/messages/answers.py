"""Questions with a single answer."""

import enum

from seodang.worker.messages.prompts import Prompt
from seodang.worker.messages.record import Message
from seodang.worker.tensor import Tensor


class Pooling(enum.Enum):
    """How hidden states become one vector: their mean, or the last one."""

    MEAN = "mean"
    LAST = "last"


class Embed(Message, frozen=True, tag="embed"):
    """Ask for one vector a prompt, pooled from the last hidden states."""

    request_id: str
    model_id: str
    prompts: tuple[Prompt, ...]
    pooling: Pooling = Pooling.MEAN
    normalize: bool = True
    """Scale to length 1."""


class Embedded(Message, frozen=True, tag="embedded"):
    """float32 [prompts, hidden] and the tokens that each prompt had."""

    request_id: str
    vectors: Tensor
    prompt_tokens: tuple[int, ...]


class Render(Message, frozen=True, tag="render"):
    """Ask which tokens a prompt becomes."""

    request_id: str
    model_id: str
    prompt: Prompt


class Rendered(Message, frozen=True, tag="rendered"):
    """The prompt as the model reads it."""

    request_id: str
    token_ids: tuple[int, ...]
    text: str


class Decode(Message, frozen=True, tag="decode"):
    """Ask for the text of token ids."""

    request_id: str
    model_id: str
    token_ids: tuple[int, ...]
    skip_special_tokens: bool = True


class Decoded(Message, frozen=True, tag="decoded"):
    """The text of token ids."""

    request_id: str
    text: str
