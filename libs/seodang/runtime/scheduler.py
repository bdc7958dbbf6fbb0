"""Who computes what in the next step.

Running sequences keep running while there are blocks; waiting ones join, highest priority first, then in order of
arrival, as long as batch, token budget and blocks allow. When blocks run out, the least important running sequence is
preempted: its blocks go back, and it computes its tokens anew later (often from its own still idle blocks).
"""

import heapq
import itertools
import time
from dataclasses import dataclass

from seodang.base.errors import Exhausted
from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.block import ROOT, BlockPool, block_digest
from seodang.runtime.sequence import Sequence


@dataclass(frozen=True, slots=True)
class Share:
    """A sequence's part in a step: its next ``count`` tokens."""

    sequence: Sequence
    count: int


class Scheduler:
    """Queues of one model's sequences, and the blocks that they hold."""

    def __init__(self, pool: BlockPool, *, max_batch: int, max_waiting: int, step_tokens: int) -> None:
        self.pool = pool
        self.preemptions = 0
        self._max_batch = max_batch
        self._max_waiting = max_waiting
        self._step_tokens = step_tokens
        self._order = itertools.count()
        self._running: list[Sequence] = []
        self._waiting: list[tuple[tuple[int, bool, int], Sequence]] = []
        self._rate = _FinishRate()
        self._last_was_alone = False

    @property
    def running(self) -> int:
        """Sequences that hold blocks."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences that hold none yet, or no longer."""
        return len(self._waiting)

    @property
    def has_work(self) -> bool:
        """Whether any sequence could go on."""
        waiting = (entry[1] for entry in self._waiting)
        return any(not sequence.paused for sequence in itertools.chain(self._running, waiting))

    def add(self, sequence: Sequence) -> None:
        """Queue a new sequence. ``Exhausted``, with a time to try again, if too many are waiting."""
        if len(self._waiting) >= self._max_waiting:
            raise Exhausted(
                f"{len(self._waiting)} requests are waiting, the limit; try again later or use another replica",
                retry_after_s=self._rate.seconds_for(1),
            )
        sequence.order = next(self._order)
        self._enqueue(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Take out a finished or cancelled sequence and free its blocks."""
        if sequence in self._running:
            self._running.remove(sequence)
        else:
            self._waiting = [entry for entry in self._waiting if entry[1] is not sequence]
            heapq.heapify(self._waiting)
        self._release(sequence)
        self._rate.note()

    def schedule(self) -> list[Share]:
        """The next step: sequences of one token first, then longer runs. Empty if there is nothing to do.

        Sequences that must be alone take every other step while there are any of both kinds.
        """
        budget = self._step_tokens
        shares: list[Share] = []
        alone = self._alone_is_next()
        for sequence in sorted(self._running, key=_importance):
            if sequence.paused or sequence not in self._running:  # a more important one may have preempted it
                continue
            if sequence.alone != alone or (alone and shares):
                continue
            count = min(sequence.remaining, budget, sequence.longest_run) if sequence.remaining > 1 else 1
            if count and self._grow(sequence, count):
                shares.append(Share(sequence, count))
                budget -= count if count > 1 else 0
        if not (alone and shares):
            shares.extend(self._admit(budget, alone=alone))
        shares = [share for share in shares if share.sequence in self._running]
        return sorted(shares, key=lambda share: share.count > 1)

    def reach(self, sequence: Sequence, count: int) -> int:
        """How many of ``count`` more tokens a running sequence has room for when it takes blocks that nobody holds."""
        needed = min(blocks_to_add(sequence, count), self.pool.available)
        sequence.blocks.extend(self.pool.take() for _ in range(needed))
        return min(count, len(sequence.blocks) * BLOCK_TOKENS - sequence.computed)

    def seal(self, sequence: Sequence) -> None:
        """Name the blocks that have become full, so that others can share them."""
        full = sequence.computed // BLOCK_TOKENS
        for index in range(len(sequence.digests), full):
            parent = sequence.digests[-1] if sequence.digests else ROOT
            tokens = sequence.tokens[index * BLOCK_TOKENS : (index + 1) * BLOCK_TOKENS]
            sequence.digests.append(block_digest(parent, tokens))
            self.pool.seal(sequence.blocks[index], sequence.digests[-1])

    def _alone_is_next(self) -> bool:
        """Whether the next step is for one sequence that must be alone."""
        ready = itertools.chain(self._running, (entry[1] for entry in self._waiting))
        kinds = {sequence.alone for sequence in ready if not sequence.paused}
        self._last_was_alone = not self._last_was_alone if len(kinds) == 2 else True in kinds
        return self._last_was_alone

    def _admit(self, budget: int, *, alone: bool) -> list[Share]:
        shares: list[Share] = []
        for entry in sorted(self._waiting):
            sequence = entry[1]
            if sequence.paused or sequence.alone != alone:
                continue
            if budget <= 0 or (alone and shares) or not self._has_slot(sequence):
                break
            digests = self._known_prefix(sequence)
            done = len(digests) * BLOCK_TOKENS
            if self._is_coming(sequence, done + BLOCK_TOKENS):
                continue
            count = min(len(sequence.tokens) - done, budget, sequence.longest_run)
            needed = (done + count - 1) // BLOCK_TOKENS + 1 - len(digests)
            needed += sum(self.pool.is_idle(digest) for digest in digests)
            if not self._make_room(sequence, needed):
                break
            self._waiting.remove(entry)
            self._start(sequence, digests)
            sequence.blocks.extend(self.pool.take() for _ in range(blocks_to_add(sequence, count)))
            shares.append(Share(sequence, count))
            budget -= count
        heapq.heapify(self._waiting)
        return shares

    def _start(self, sequence: Sequence, digests: list[bytes]) -> None:
        for digest in digests:
            block = self.pool.share(digest)
            assert block is not None
            sequence.blocks.append(block)
        sequence.digests = digests
        sequence.computed = len(digests) * BLOCK_TOKENS
        if not sequence.clock.started:
            sequence.clock.started = time.monotonic()
            sequence.cached_tokens = sequence.computed
        self._running.append(sequence)

    def _known_prefix(self, sequence: Sequence) -> list[bytes]:
        """Digests of the longest run of full blocks at the start that some sequence has left in the cache."""
        digests: list[bytes] = []
        for begin in range(0, sequence.reusable - BLOCK_TOKENS + 1, BLOCK_TOKENS):
            parent = digests[-1] if digests else ROOT
            digest = block_digest(parent, sequence.tokens[begin : begin + BLOCK_TOKENS])
            if not self.pool.knows(digest):
                break
            digests.append(digest)
        return digests

    def _is_coming(self, sequence: Sequence, end: int) -> bool:
        """Whether its next full block, which ends at ``end``, is being computed now: next step it can be shared."""
        return end <= sequence.reusable and any(
            running.computed < end <= len(running.tokens)
            and not running.paused
            and running.tokens[:end] == sequence.tokens[:end]
            for running in self._running
        )

    def _has_slot(self, sequence: Sequence) -> bool:
        """Whether one more can run; if all slots are taken, a less important sequence gives way."""
        if len(self._running) < self._max_batch:
            return True
        victim = self._victim()
        if not _gives_way(victim, sequence):
            return False
        self._preempt(victim)
        return True

    def _make_room(self, sequence: Sequence, blocks: int) -> bool:
        """Preempt sequences that give way until that many blocks are available."""
        while self.pool.available < blocks:
            if not self._running or not _gives_way(self._victim(), sequence):
                return False
            self._preempt(self._victim())
        return True

    def _grow(self, sequence: Sequence, count: int) -> bool:
        """Give a running sequence blocks for ``count`` more tokens, preempting the least important ones for it."""
        needed = blocks_to_add(sequence, count)
        while self.pool.available < needed:
            victim = self._victim()
            self._preempt(victim)
            if victim is sequence:
                return False
        sequence.blocks.extend(self.pool.take() for _ in range(needed))
        return True

    def _victim(self) -> Sequence:
        """The running sequence to preempt first: a paused one, else the least important."""
        return max(self._running, key=lambda sequence: (sequence.paused, _importance(sequence)))

    def _preempt(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        self._release(sequence)
        self._enqueue(sequence)
        self.preemptions += 1

    def _enqueue(self, sequence: Sequence) -> None:
        heapq.heappush(self._waiting, (_importance(sequence), sequence))

    def _release(self, sequence: Sequence) -> None:
        self.pool.release(sequence.blocks)
        sequence.blocks, sequence.digests, sequence.computed = [], [], 0


def blocks_to_add(sequence: Sequence, count: int) -> int:
    """Blocks that a sequence lacks for its next ``count`` tokens."""
    return (sequence.computed + count - 1) // BLOCK_TOKENS + 1 - len(sequence.blocks)


def _gives_way(running: Sequence, waiting: Sequence) -> bool:
    return running.paused or running.priority < waiting.priority


def _importance(sequence: Sequence) -> tuple[int, bool, int]:
    """Sorts the most important first: priority, then foreground, then arrival. Unique, as arrivals are."""
    return -sequence.priority, sequence.background, sequence.order


class _FinishRate:
    """Requests that end a second, smoothed, to tell a refused caller when a place should be free."""

    def __init__(self) -> None:
        self._interval_s = 1.0
        self._last = time.monotonic()

    def note(self) -> None:
        now = time.monotonic()
        self._interval_s += 0.1 * (min(now - self._last, 60.0) - self._interval_s)
        self._last = now

    def seconds_for(self, requests: int) -> float:
        return max(0.05, self._interval_s * requests)
