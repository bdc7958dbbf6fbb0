"""Speculative decoding (Leviathan et al., ICML 2023) that changes no token.

A draft model guesses a few tokens of each completion; the served model computes all of them in one step, draws at each
position as it would have anyway, and goes on for as long as its own draw is the guess. Because both draw with the same
seeded number, a seed gives the same tokens with and without a draft model ("drafter-invariant", Daliri, Musco and
Suresh, 2024), so nothing has to be corrected, and penalties, constraints and log-probabilities hold at every position.
"""

import time
from collections import defaultdict
from collections.abc import Sequence as Seq
from dataclasses import dataclass

from seodang.runtime.catching_up import CatchingUp
from seodang.runtime.completion import Completion
from seodang.runtime.drafter import Drafter
from seodang.runtime.pace import Pace
from seodang.runtime.scheduler import Scheduler, Share


@dataclass(slots=True)
class _Step:
    """A step under way whose pace counts."""

    pace: Pace
    depth: int
    started: float


class Speculation:
    """Drafts for the completions of an engine, as deep as it pays for the number that share the step."""

    def __init__(self, drafter: Drafter, scheduler: Scheduler, depth: int) -> None:
        self.drafter = drafter
        self._scheduler = scheduler
        self._depths = tuple(sorted({0, (depth + 1) // 2, depth}))
        self.paces = defaultdict[int, Pace](lambda: Pace(self._depths))
        """For each range of batch sizes, by the bit length of its sizes."""
        self._catching_up = CatchingUp()
        self._step: _Step | None = None

    def guess(self, shares: Seq[Share]) -> None:
        """Set the drafts of the completions that will draw a token in this step."""
        started = time.perf_counter()
        drawing = [s.sequence for s in shares if isinstance(s.sequence, Completion) and s.count == s.sequence.remaining]
        ready = [completion for completion in drawing if completion.remaining == 1]
        for completion in drawing:
            completion.draft = []
        pace = self.paces[len(ready).bit_length()]
        depth = pace.choose() if ready else 0
        wanted = {completion: min(depth, completion.room - 1) for completion in ready} if depth else {}
        reached = {completion: self._scheduler.reach(completion, 1 + d) - 1 for completion, d in wanted.items()}
        behind = self.drafter.guess(reached)
        settled = behind <= sum(d + 1 for d in reached.values())  # it had no more to catch up than the last step
        if not settled:
            self._catching_up.note_reading(behind, time.perf_counter() - started)
        counts = settled and len(ready) == len(shares)
        self._step = _Step(pace, depth, started) if counts else None

    def learn(self, tokens: int) -> None:
        """The step that was guessed for has given so many tokens."""
        if self._step is not None:
            before = tokens * self._catching_up.seconds_per_token if self._step.depth else 0.0
            self._step.pace.note(self._step.depth, tokens, time.perf_counter() - self._step.started + before)

    def forget(self, completion: Completion) -> None:
        """It has ended."""
        self.drafter.forget(completion)
        if completion.completion_tokens:  # else it ended before anybody drafted for it
            self._catching_up.note_end(completion.prompt_tokens, completion.completion_tokens)
