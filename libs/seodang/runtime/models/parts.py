"""What every family here is made of. T tokens, H hidden, I intermediate, V vocabulary; sizes are this rank's share."""

from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F

from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.weights import Part, Source


@dataclass(frozen=True, slots=True)
class Head:
    """This rank's rows of the output head."""

    weight_VH: torch.Tensor
    bias_V: torch.Tensor | None
    first_row: int


class Norm:
    """Root mean square norm (Zhang and Sennrich, 2019)."""

    def __init__(self, source: Source, kernels: Kernels, name: str, size: int, epsilon: float) -> None:
        self._kernels = kernels
        self._weight = source.rows(Part(f"{name}.weight", (size,)))
        self._epsilon = epsilon

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last dimension."""
        return self._kernels.rms_norm(x, self._weight, self._epsilon)


class GatedMLP:
    """down(silu(gate(x)) * up(x)). The result is this rank's summand: the caller adds the ranks up."""

    def __init__(
        self,
        source: Source,
        kernels: Kernels,
        name: str,
        hidden: int,
        intermediate: int,
        *,
        gate: str = "gate_proj",
        up: str = "up_proj",
        down: str = "down_proj",
    ) -> None:
        self._kernels = kernels
        wide, narrow = (intermediate, hidden), (hidden, intermediate)
        self._gate_up = source.matrix(Part(f"{name}.{gate}.weight", wide, 0), Part(f"{name}.{up}.weight", wide, 0))
        self._down = source.matrix(Part(f"{name}.{down}.weight", narrow, 1))

    def __call__(self, x_TH: torch.Tensor) -> torch.Tensor:
        """[T, H] to [T, H]."""
        return self._kernels.gated(x_TH, self._gate_up, self._down)


class Embedding:
    """Token vectors; tensor-parallel ranks each hold some rows, and add up what they know."""

    def __init__(self, source: Source, name: str, vocabulary: int, hidden: int) -> None:
        self.weight_VH = source.rows(Part(name, (vocabulary, hidden), 0))
        self._begin, self._end = source.seat.share(vocabulary)
        self._shared = source.seat.layout.tp > 1

    def __call__(self, tokens_T: torch.Tensor, tp_group: dist.ProcessGroup | None) -> torch.Tensor:
        """[T, H]"""
        if not self._shared:
            return F.embedding(tokens_T, self.weight_VH)
        mine = (tokens_T >= self._begin) & (tokens_T < self._end)
        vectors = F.embedding((tokens_T - self._begin).clamp(0, len(self.weight_VH) - 1), self.weight_VH)
        return add_up(vectors * mine[:, None], tp_group)


def read_head(source: Source, embedding: Embedding | None, vocabulary: int, hidden: int, *, tied: bool) -> Head:
    """The output head, which may be the embedding once more."""
    if tied and embedding is not None:
        weight = embedding.weight_VH
    else:
        name = "model.embed_tokens.weight" if tied else "lm_head.weight"
        weight = source.rows(Part(name, (vocabulary, hidden), 0))
    return Head(weight, None, source.seat.share(vocabulary)[0])


def add_up(x: torch.Tensor, group: dist.ProcessGroup | None) -> torch.Tensor:
    """Sum over tensor-parallel ranks, in place."""
    if group is not None:
        dist.all_reduce(x, group=group)
    return x
