"""A shard's arrays as the signal that the loss reads. N positions chosen, K entries a position."""

import numpy as np
import numpy.typing as npt
import torch

from seodang.distillation.loss import HiddenSignal, SampledSignal, Signal, TruncatedSignal
from seodang.distillation.spec import HiddenTarget, SampledTarget, Target, TopKTarget
from seodang.distillation.targets.shard import Array, Shard

Rows = npt.NDArray[np.int64]
_LEAST_TAIL = 1e-12


class ShardSignals:
    """Signals of any positions of a shard.

    Args:
        shard: of the target's kind.
        target: how it was asked for.
        head: the teacher's output head [V, H], for hidden states; ``TargetStore.head_to_multiply``.
    """

    def __init__(self, shard: Shard, target: Target, head: torch.Tensor | None = None) -> None:
        self._shard = shard
        self._target = target
        self._head_VH = head
        counts = shard.counts if shard.counts is not None else np.zeros(0, np.int64)
        self._counts = counts.astype(np.int64)
        self._entry_starts = np.cumsum(self._counts) - self._counts

    @property
    def head(self) -> torch.Tensor:
        """The teacher's output head [V, G], of hidden states."""
        assert self._head_VH is not None
        return self._head_VH

    def at(self, rows: Rows) -> Signal:
        """The signal at positions, numbered over the whole shard."""
        match self._target:
            case SampledTarget(tail_draws=tail_draws):
                return self._sampled(rows, tail_draws)
            case TopKTarget():
                return self._truncated(rows)
            case HiddenTarget():
                return self._hidden(rows)

    def log_probs(self, rows: Rows) -> torch.Tensor:
        """Of a sampled target, the teacher's log-probability of each entry of ``at(rows)``, drawn or exact [N, K]; NaN
        at drawn ones of a packed store.
        """
        at_NK, _ = self._entries(rows)
        return torch.from_numpy(self._shard.column("log_probs")[at_NK])

    def _sampled(self, rows: Rows, tail_draws: int) -> SampledSignal:
        at_NK, inside_NK = self._entries(rows)
        draws_NK = self._shard.column("draws")[at_NK]
        share_N1 = self._shard.column("outside")[rows, None] / max(tail_draws, 1)
        exact_NK = np.exp(self._shard.column("log_probs")[at_NK])
        probs_NK = np.where(draws_NK > 0, draws_NK * share_N1, exact_NK) * inside_NK
        return SampledSignal(
            torch.from_numpy(self._shard.column("ids")[at_NK].astype(np.int64)),
            torch.from_numpy(probs_NK.astype(np.float32)),
            torch.from_numpy(self._shard.column("entropy")[rows]),
        )

    def _truncated(self, rows: Rows) -> TruncatedSignal:
        at_NK, _ = self._entries(rows)
        return TruncatedSignal(
            torch.from_numpy(self._shard.column("ids")[at_NK].astype(np.int64)),
            torch.from_numpy(self._shard.column("log_probs")[at_NK]),
            torch.from_numpy(np.log(np.maximum(self._shard.column("outside")[rows], _LEAST_TAIL))),
        )

    def _hidden(self, rows: Rows) -> HiddenSignal:
        stored = self._shard.column("hidden")[rows]
        if self._shard.hidden_scales is not None:
            hidden_NH = stored.astype(np.float32) * self._shard.hidden_scales[rows, None]
        else:
            hidden_NH = (stored.astype("<u4") << 16).view("<f4")
        return HiddenSignal(torch.from_numpy(hidden_NH), self.head)

    def _entries(self, rows: Rows) -> tuple[Array, Array]:
        """[N, K] index of each entry, and whether it is one: shorter rows are filled up."""
        counts = self._counts[rows]
        steps = np.arange(int(counts.max(initial=1)))
        inside: Array = steps < counts[:, None]
        at: Array = np.where(inside, self._entry_starts[rows, None] + steps, 0)
        return at, inside
