"""Scoring and the output head: what is asked, and the chunks of the answer."""

from seodang.worker.messages.prompts import Prompt
from seodang.worker.messages.record import Message
from seodang.worker.tensor import Tensor


class Score(Message, frozen=True, tag="score"):
    """Ask for the model's distribution at positions of a given sequence.

    Position p is the distribution after reading tokens 0..p: it predicts token p + 1. Everything is under
    softmax(logits / temperature). Work and reply come in chunks of positions, so nothing of size
    positions x vocabulary is ever held; ``start`` resumes a stream that broke.
    """

    request_id: str
    model_id: str
    prompt: Prompt
    start: int = 0
    """First position to report."""
    stop: int | None = None
    """One past the last position; None: all."""
    chunk_positions: int = 256
    temperature: float = 1.0
    named_ids: Tensor | None = None
    """int32 [K]: the same ids at every position; or int32 [stop - start, K]: each position's own, -1 for no id."""
    top_k: int = 0
    """Size of the exact head: the k most likely tokens."""
    tail_samples: int = 0
    """Draws from the tail, that is, all tokens outside the head."""
    seed: int = 0
    """Seeds the tail draws; a position's draws depend on seed and position alone, not on chunks or batches."""
    entropy: bool = False
    hidden_states: bool = False
    priority: int = 0
    """Higher is served first; scoring comes after generation of the same priority."""


class Credit(Message, frozen=True, tag="credit"):
    """The host has taken chunks of a stream and makes room for as many more."""

    request_id: str
    chunks: int = 1


class ScoreChunk(Message, frozen=True, tag="score_chunk"):
    """The distribution at P positions, from ``start`` on. Natural logarithms, float32 unless said otherwise."""

    request_id: str
    start: int
    positions: int
    last: bool
    logsumexp: Tensor
    """[P] of logits / temperature."""
    next_logprobs: Tensor
    """[P] of the sequence's own next token; NaN after its last token."""
    top_ids: Tensor | None = None
    """int32 [P, k], most likely first."""
    top_logprobs: Tensor | None = None
    """[P, k]"""
    tail_mass: Tensor | None = None
    """[P] probability outside the head."""
    sample_ids: Tensor | None = None
    """int32 [P, n], systematic draws from the tail in rising order of id; an id may repeat."""
    sample_logprobs: Tensor | None = None
    """[P, n] of each drawn id under the model. Each draw weighs tail_mass / n: sums over the head plus weighted sums
    over the draws are unbiased for sums over the vocabulary."""
    named_logprobs: Tensor | None = None
    """[P, K]; -inf where the id is -1."""
    entropy: Tensor | None = None
    """[P] in nats."""
    hidden_states: Tensor | None = None
    """[P, hidden] in the model's dtype, after the final norm: what the output head multiplies."""


class FetchHead(Message, frozen=True, tag="fetch_head"):
    """Ask for the output head, to turn hidden states into logits elsewhere."""

    request_id: str
    model_id: str
    chunk_rows: int = 4096


class HeadChunk(Message, frozen=True, tag="head_chunk"):
    """Rows ``start``.. of the output head: [rows, hidden] in the model's dtype."""

    request_id: str
    start: int
    weight: Tensor
    last: bool
