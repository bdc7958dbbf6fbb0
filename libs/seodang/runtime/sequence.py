"""One request as the scheduler sees it: tokens, how many of them the cache holds, and the blocks that hold them.

There is no prefill and no decode: each step computes some of the tokens that are not in the cache yet. A completion
whose tokens are all computed draws one more; so a step after the first computes one.
"""

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.batch import Row


@dataclass(slots=True)
class Clock:
    """When a request reached each stage, by ``time.monotonic``; 0 where it has not."""

    accepted: float = field(default_factory=time.monotonic)
    started: float = 0.0
    first_token: float = 0.0


class Sequence(ABC):
    """Tokens with their cache. Subclasses say which hidden states they need and what they do with them."""

    def __init__(self, request_id: str, tokens: list[int], priority: int = 0) -> None:
        self.request_id = request_id
        self.tokens = tokens
        self.priority = priority
        self.order = 0
        """Rank in arrival; set by the scheduler."""
        self.computed = 0
        """Tokens whose cache entries exist."""
        self.cached_tokens = 0
        """Tokens that a shared prefix spared when the sequence first started."""
        self.blocks: list[int] = []
        self.digests: list[bytes] = []
        """Names of the full blocks, as far as they are sealed or shared."""
        self.clock = Clock()

    @property
    def remaining(self) -> int:
        """Tokens to compute before the sequence can go on."""
        return len(self.tokens) - self.computed

    @property
    def reusable(self) -> int:
        """Tokens at the start whose hidden states nobody needs, so that a shared prefix may stand in for them."""
        return len(self.tokens) - 1

    @property
    def longest_run(self) -> int:
        """Tokens to compute in one step at most."""
        return len(self.tokens)

    @property
    def background(self) -> bool:
        """Whether the sequence comes after the others of its priority."""
        return False

    @property
    def alone(self) -> bool:
        """Whether it must share no step, and no block of another, so that nobody else touches its rounding."""
        return False

    @property
    def paused(self) -> bool:
        """Whether to leave the sequence out of the next step."""
        return False

    @abstractmethod
    def outputs(self, count: int) -> slice:
        """Which of the next ``count`` tokens need their hidden states, counted from the first of them."""

    def rows(self, count: int) -> list[Row]:
        """The next ``count`` tokens as a row of a batch, and rows of what else is to be computed behind it."""
        begin, end = self.computed, self.computed + count
        blocks = self.blocks[: (end - 1) // BLOCK_TOKENS + 1]
        return [Row(self.tokens[begin:end], begin, blocks, self.outputs(count))]
