"""A generation: what is asked, how it is sampled, and the events of its stream."""

import enum
from typing import TypeAlias

import msgspec

from seodang.worker.messages.prompts import Prompt
from seodang.worker.messages.record import Message, Record


class SamplingParams(Record, frozen=True):
    """How the next token is drawn. The defaults sample from the model's own distribution, unchanged.

    The order is fixed: logit_bias and penalties, temperature, top_k, top_p, min_p, then the draw.
    """

    temperature: float = 1.0
    """0 means greedy: the most likely token, and the lowest id among equals."""
    top_k: int | None = None
    """Keep the k most likely tokens."""
    top_p: float | None = None
    """Keep the smallest set of most likely tokens whose mass reaches this."""
    min_p: float | None = None
    """Drop tokens less likely than this share of the most likely one's probability."""
    repetition_penalty: float = 1.0
    """Divides positive and multiplies negative logits of tokens seen in prompt or completion (CTRL, 2019)."""
    presence_penalty: float = 0.0
    """Subtracted from the logits of tokens already in the completion."""
    frequency_penalty: float = 0.0
    """Subtracted once for each time the token is already in the completion."""
    logit_bias: dict[int, float] = msgspec.field(default_factory=dict)
    seed: int | None = None
    """The same seed and prompt give the same tokens, whatever else is in the batch. None draws a fresh seed."""


class JsonSchema(Message, frozen=True, tag="json_schema"):
    """The completion is JSON text that the schema accepts; ``schema`` is JSON text, and ``{}`` accepts any JSON."""

    schema: str


class Regex(Message, frozen=True, tag="regex"):
    """The completion matches the pattern from first to last character (RE2-like syntax, no look-around)."""

    pattern: str


class Lark(Message, frozen=True, tag="lark"):
    """The completion is a sentence of the grammar, in the Lark dialect of llguidance."""

    grammar: str


Constraint: TypeAlias = JsonSchema | Regex | Lark


class Generate(Message, frozen=True, tag="generate"):
    """Continue a prompt."""

    request_id: str
    model_id: str
    prompt: Prompt
    sampling: SamplingParams = SamplingParams()
    constraint: Constraint | None = None
    max_new_tokens: int | None = None
    """None: as many as the context still holds."""
    stop: tuple[str, ...] = ()
    """The completion ends before the first of these strings to appear."""
    stop_token_ids: tuple[int, ...] = ()
    """In addition to the checkpoint's own end tokens."""
    ignore_eos: bool = False
    include_stop: bool = False
    """Keep the matched stop string, or the text of the stop token, in the returned text."""
    skip_special_tokens: bool = True
    """Leave special tokens out of the returned text; their ids are returned all the same."""
    echo_prompt: bool = False
    """Accepted carries the prompt's token ids and text."""
    top_logprobs: int | None = None
    """None: no log-probabilities; 0: of the chosen token; n: of the n most likely tokens as well."""
    priority: int = 0
    """Higher is served first; equals in order of arrival."""


class Cancel(Message, frozen=True, tag="cancel"):
    """End a request and free what it holds. Unknown ids are ignored: the request may have ended on its own."""

    request_id: str


class Accepted(Message, frozen=True, tag="accepted"):
    """The request passed every check and waits for its turn."""

    request_id: str
    prompt_tokens: int
    prompt_token_ids: tuple[int, ...] = ()
    prompt_text: str = ""


class TopToken(msgspec.Struct, frozen=True, array_like=True):
    """A token and its log-probability under the model, before temperature and truncation."""

    token_id: int
    logprob: float
    piece: bytes
    """UTF-8 of the token; one token of a byte-level vocabulary may be a part of a character."""


class TokenLogprob(msgspec.Struct, frozen=True, array_like=True):
    """The chosen token and the most likely alternatives, most likely first."""

    chosen: TopToken
    top: tuple[TopToken, ...] = ()


class TokenDelta(Message, frozen=True, tag="delta"):
    """New tokens, and the text that has become certain.

    Ids come as soon as they are drawn. Text may lag: it waits for a whole character, and for the end of anything that
    could still become a stop string. Joining all texts gives the whole completion.
    """

    request_id: str
    token_ids: tuple[int, ...]
    text: str
    logprobs: tuple[TokenLogprob, ...] = ()


class FinishReason(enum.Enum):
    """Why a completion ended."""

    STOP_TOKEN = "stop_token"
    STOP_STRING = "stop_string"
    GRAMMAR_COMPLETE = "grammar_complete"
    """The constraint allows no further token."""
    LENGTH = "length"
    """max_new_tokens were drawn."""
    CONTEXT = "context"
    """The model's context is full."""
    CANCELLED = "cancelled"


class Usage(Record, frozen=True):
    """What a request took."""

    prompt_tokens: int
    cached_tokens: int
    """Prompt tokens that were not computed, because an earlier request had the same prefix."""
    completion_tokens: int
    queue_s: float
    """From acceptance to the first computation."""
    first_token_s: float
    """From acceptance to the first token; 0 if there was none."""
    total_s: float
    drafted_tokens: int = 0
    """Tokens that a draft model proposed."""
    accepted_tokens: int = 0
    """Proposed tokens that stood."""


class Finished(Message, frozen=True, tag="finished"):
    """The one good end of a generation."""

    request_id: str
    reason: FinishReason
    usage: Usage
    stop_string: str = ""
    stop_token_id: int | None = None
