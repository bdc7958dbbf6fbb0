"""A small model that guesses what the served one will say next: its own cache, and the way to a few tokens more.

Guesses are drawn with the number that will decide the served model's own draw at that position, so where the two
distributions are alike, so are the tokens. The sequences, whatever is guessed, stay as they are.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.batch import Batch, Row
from seodang.runtime.block import BlockPool
from seodang.runtime.completion import Completion
from seodang.runtime.executor import Executor
from seodang.runtime.sampler import draw


@dataclass(slots=True)
class _Trail:
    """How far the drafter has followed one completion: ``computed`` tokens, and guesses after the first ``base``."""

    blocks: list[int] = field(default_factory=list)
    computed: int = 0
    base: int = 0
    guesses: list[int] = field(default_factory=list)

    def settle(self, tokens: Seq[int]) -> None:
        """Forget what was computed of guesses that did not come true."""
        said = tokens[self.base : self.base + len(self.guesses)]
        true = next(
            (i for i, pair in enumerate(zip(self.guesses, said, strict=False)) if pair[0] != pair[1]), len(said)
        )
        self.computed = min(self.computed, self.base + true)
        self.guesses = []

    def row(self, tokens: Seq[int], *, draws: bool) -> Row:
        """The tokens after those computed, which are computed then."""
        start, end = self.computed, self.computed + len(tokens)
        self.computed = end
        outputs = slice(len(tokens) - 1, len(tokens)) if draws else slice(0, 0)
        return Row(tokens, start, self.blocks[: (end - 1) // BLOCK_TOKENS + 1], outputs)


class Drafter:
    """Follows completions and guesses on; ``step_tokens`` bounds what one call computes to catch up with them."""

    def __init__(self, executor: Executor, vocab_size: int, step_tokens: int) -> None:
        self._executor = executor
        self._vocabulary = slice(0, min(executor.vocab_size, vocab_size))
        self._context_tokens: int = executor.config.max_position_embeddings
        self._step_tokens = step_tokens
        self._pool = BlockPool(executor.cache.blocks)
        self._trails: dict[Completion, _Trail] = {}

    @property
    def held_blocks(self) -> int:
        """Blocks that completions hold."""
        return self._pool.capacity - self._pool.available

    def guess(self, depths: Mapping[Completion, int]) -> int:
        """Set ``draft`` of each completion to at most so many guesses; how many tokens it had to catch up.

        A completion that is far ahead is followed first, over several calls; one that the cache has no room for, or
        that is longer than the model can read, gets no guess.
        """
        behind = self._catch_up(depths)
        going = [completion for completion in depths if completion.draft]
        for made in range(1, max(depths.values(), default=0)):
            going = [completion for completion in going if depths[completion] > made]
            if going:
                rows = [self._trails[completion].row(completion.draft[-1:], draws=True) for completion in going]
                self._draw(rows, going)
        for completion, depth in depths.items():
            if depth:
                self._trails[completion].guesses = list(completion.draft)
        return behind

    def forget(self, completion: Completion) -> None:
        """It has ended."""
        if trail := self._trails.pop(completion, None):
            self._pool.release(trail.blocks)

    def _catch_up(self, depths: Mapping[Completion, int]) -> int:
        """Compute what each completion has said since; those that are reached get their first guess."""
        budget, runs = self._step_tokens, []
        for completion, depth in depths.items():
            trail = self._trails.setdefault(completion, _Trail())
            trail.settle(completion.tokens)
            trail.base = len(completion.tokens)
            run = completion.tokens[trail.computed :][:budget]
            if depth and run and self._has_room(trail, trail.computed + len(run) + depth - 1):
                budget -= len(run)
                runs.append((completion, run))
        runs.sort(key=lambda pair: len(pair[1]) > 1)
        reached = [c for c, run in runs if self._trails[c].computed + len(run) == len(c.tokens)]
        self._draw([self._trails[c].row(run, draws=c in reached) for c, run in runs], reached)
        return self._step_tokens - budget

    def _has_room(self, trail: _Trail, tokens: int) -> bool:
        needed = (tokens - 1) // BLOCK_TOKENS + 1 - len(trail.blocks)
        if needed > self._pool.available or tokens > self._context_tokens:
            return False
        trail.blocks.extend(self._pool.take() for _ in range(needed))
        return True

    def _draw(self, rows: Seq[Row], drawing: Seq[Completion]) -> None:
        """Compute rows, and add a guess to the completions whose rows have an output, in their order."""
        if not rows:
            return
        self._executor.forward(Batch.of(rows))
        if drawing:
            logits_RV = self._executor.logits(slice(0, len(drawing)), self._vocabulary)
            states = [completion.sampling.ahead(completion.draft) for completion in drawing]
            for completion, token in zip(drawing, draw(logits_RV, states), strict=True):
                completion.draft.append(token)
