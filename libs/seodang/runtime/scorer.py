"""The model's distribution at given positions, exact where it says so, and never positions x vocabulary at once.

P positions, V vocabulary, k head, n tail draws, K named ids. The vocabulary is walked in tiles of at most
``TILE_FLOATS``: once for normaliser, head, entropy and named ids, and once more, only if there are tail draws and more
than one tile, for the draws.

The draws are systematic: n points, equally spaced from one uniform offset, on the tail's cumulative mass. So a token
with a share s of the tail is drawn n*s times on average, each draw weighs tail_mass / n, and sums over the vocabulary
are estimated without bias (Madow, 1949; in distillation: Anshumann et al., "Sparse Logit Sampling", ACL 2025).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol

import numpy as np
import torch

from seodang.runtime.uniform import uniforms
from seodang.worker.messages import ScoreChunk
from seodang.worker.tensor import Tensor

TILE_FLOATS: Final = 4 * 2**20


class Logits(Protocol):
    """float32 logits [P, part of V] of the positions at hand."""

    def __call__(self, vocabulary: slice) -> torch.Tensor:
        """Columns ``vocabulary``."""


@dataclass(frozen=True, slots=True)
class ScoreSpec:
    """What a request wants at every position."""

    temperature: float
    top_k: int
    tail_samples: int
    seed: int
    entropy: bool


@dataclass(slots=True)
class Scores:
    """Result at P positions; fields as in ``ScoreChunk``."""

    logsumexp_P: torch.Tensor
    next_logprobs_P: torch.Tensor
    top_ids_Pk: torch.Tensor
    top_logprobs_Pk: torch.Tensor
    tail_mass_P: torch.Tensor
    entropy_P: torch.Tensor
    named_logprobs_PK: torch.Tensor | None
    sample_ids_Pn: torch.Tensor | None
    sample_logprobs_Pn: torch.Tensor | None

    def since(self, first: int) -> "Scores":
        """Without the first positions."""
        parts: dict[str, Any] = {
            each.name: None if (part := getattr(self, each.name)) is None else part[first:] for each in fields(self)
        }
        return Scores(**parts)


def score(
    logits: Logits,
    vocabulary: int,
    spec: ScoreSpec,
    next_ids_P: torch.Tensor,
    named_ids_PK: torch.Tensor | None,
    positions_P: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Scores:
    """Score P positions; -1 among ids means none, and scores NaN for a next id and -inf for a named one."""
    count = len(next_ids_P)
    tiles = list(_tiles(vocabulary, max(1, TILE_FLOATS // max(1, count))))
    wanted_PX = next_ids_P[:, None] if named_ids_PK is None else torch.cat([next_ids_P[:, None], named_ids_PK], dim=1)
    walk = _Walk.start(wanted_PX, min(spec.top_k, vocabulary))
    for tile in tiles:
        walk.visit(tile, logits(tile) / spec.temperature)
    lse_P = walk.logsumexp()
    found_PX = (walk.wanted - lse_P[:, None]).float()
    next_P = torch.where(next_ids_P >= 0, found_PX[:, 0], torch.nan)
    top_P_k = walk.top_values.double() - lse_P[:, None]
    tail_P = (1.0 - top_P_k.exp().sum(-1)).clamp_(min=0.0) if spec.top_k < vocabulary else torch.zeros_like(lse_P)
    sample_ids, sample_values = None, None
    if spec.tail_samples:
        offsets_P1 = torch.from_numpy(uniforms(spec.seed, positions_P))[:, None].to(lse_P.device)
        sampler = _TailSampler(spec.tail_samples, offsets_P1, tail_P, walk.top_ids, lse_P)
        for tile in tiles:
            sampler.visit(tile, logits(tile) / spec.temperature)
        sample_ids, sample_values = sampler.ids, sampler.logprobs
    return Scores(
        logsumexp_P=lse_P.float(),
        next_logprobs_P=next_P,
        top_ids_Pk=walk.top_ids,
        top_logprobs_Pk=top_P_k.float(),
        tail_mass_P=tail_P.float(),
        entropy_P=walk.entropy(),
        named_logprobs_PK=None if named_ids_PK is None else found_PX[:, 1:],
        sample_ids_Pn=sample_ids,
        sample_logprobs_Pn=sample_values,
    )


def _tiles(vocabulary: int, width: int) -> Iterator[slice]:
    for begin in range(0, vocabulary, width):
        yield slice(begin, min(begin + width, vocabulary))


@dataclass(slots=True)
class _Walk:
    """Running results of one walk over the vocabulary; sums are float64."""

    wanted_ids: torch.Tensor
    wanted: torch.Tensor
    top_ids: torch.Tensor
    top_values: torch.Tensor
    peak: torch.Tensor
    mass: torch.Tensor
    moment: torch.Tensor
    """Sum of exp(x - peak) * (x - peak), for the entropy."""

    @classmethod
    def start(cls, wanted_ids: torch.Tensor, top_k: int) -> "_Walk":
        count, device = len(wanted_ids), wanted_ids.device
        zeros = torch.zeros(count, dtype=torch.float64, device=device)
        return cls(
            wanted_ids=wanted_ids,
            wanted=torch.full(wanted_ids.shape, -torch.inf, dtype=torch.float64, device=device),
            top_ids=torch.full((count, top_k), -1, dtype=torch.int64, device=device),
            top_values=torch.full((count, top_k), -torch.inf, device=device),
            peak=torch.full((count,), -torch.inf, dtype=torch.float64, device=device),
            mass=zeros,
            moment=zeros.clone(),
        )

    def visit(self, tile: slice, x_PS: torch.Tensor) -> None:
        peak = torch.maximum(self.peak, x_PS.amax(-1).double())
        shifted = x_PS - peak[:, None].float()
        weights = shifted.exp()
        drop = torch.where(self.mass > 0, self.peak - peak, 0.0)
        scale = drop.exp()
        self.moment = (self.moment + self.mass * drop) * scale + (weights * shifted).sum(-1, dtype=torch.float64)
        self.mass = self.mass * scale + weights.sum(-1, dtype=torch.float64)
        self.peak = peak
        inside = (self.wanted_ids >= tile.start) & (self.wanted_ids < tile.stop)
        columns = (self.wanted_ids - tile.start).clamp(0, tile.stop - tile.start - 1)
        self.wanted = torch.where(inside, x_PS.gather(1, columns).double(), self.wanted)
        top_k = self.top_ids.shape[1]
        if top_k:
            values, columns = x_PS.topk(min(top_k, x_PS.shape[1]), dim=-1)
            values = torch.cat([self.top_values, values], dim=-1)
            ids = torch.cat([self.top_ids, columns + tile.start], dim=-1)
            self.top_values, order = values.topk(top_k, dim=-1)
            self.top_ids = ids.gather(1, order)

    def logsumexp(self) -> torch.Tensor:
        return self.peak + self.mass.log()

    def entropy(self) -> torch.Tensor:
        return (self.mass.log() - self.moment / self.mass).float()


class _TailSampler:
    """Walks the tail's cumulative mass past n equally spaced points."""

    def __init__(
        self,
        draws: int,
        offsets_P1: torch.Tensor,
        tail_P: torch.Tensor,
        head_ids_Pk: torch.Tensor,
        lse_P: torch.Tensor,
    ) -> None:
        steps = torch.arange(draws, dtype=torch.float64, device=tail_P.device)
        # A point may lie past the last token by rounding; it then counts for the last one with mass.
        self._points_Pn = (offsets_P1 + steps) / draws * tail_P[:, None] * (1.0 - 1e-12)
        self._before_P1 = torch.zeros_like(tail_P)[:, None]
        self._head_ids = head_ids_Pk
        self._lse_P = lse_P
        self._has_tail_P1 = (tail_P > 0)[:, None]
        self.ids = torch.full(self._points_Pn.shape, -1, dtype=torch.int64, device=tail_P.device)
        self.logprobs = torch.full(self._points_Pn.shape, -torch.inf, device=tail_P.device)

    def visit(self, tile: slice, x_PS: torch.Tensor) -> None:
        logprobs_PS = x_PS - self._lse_P[:, None].float()
        mass_PS = logprobs_PS.exp()
        in_tile = (self._head_ids >= tile.start) & (self._head_ids < tile.stop)
        if self._head_ids.shape[1]:
            columns = (self._head_ids - tile.start).clamp(0, tile.stop - tile.start - 1)
            keep = torch.ones_like(mass_PS).scatter_reduce_(1, columns, (~in_tile).to(mass_PS.dtype), "prod")
            mass_PS = mass_PS * keep
        cumulative_PS = self._before_P1 + mass_PS.cumsum(-1, dtype=torch.float64)
        end_P1 = cumulative_PS[:, -1:]
        column = torch.searchsorted(cumulative_PS, self._points_Pn, right=True)
        last = mass_PS.shape[1] - 1 - (mass_PS.flip(-1) > 0).int().argmax(-1, keepdim=True)
        column = torch.minimum(column, last)
        # Points at or past this tile's start take their token here; a later tile overrides those past its end.
        here = (self._points_Pn >= self._before_P1) & (end_P1 > self._before_P1) & self._has_tail_P1
        self.ids = torch.where(here, column + tile.start, self.ids)
        self.logprobs = torch.where(here, logprobs_PS.gather(1, column), self.logprobs)
        self._before_P1 = end_P1


def as_chunk(
    request_id: str, start: int, last: bool, scores: Scores, spec: ScoreSpec, hidden_PH: torch.Tensor | None
) -> ScoreChunk:
    """The scores as a message."""
    has_head = spec.top_k > 0
    return ScoreChunk(
        request_id=request_id,
        start=start,
        positions=len(scores.logsumexp_P),
        last=last,
        logsumexp=wire(scores.logsumexp_P),
        next_logprobs=wire(scores.next_logprobs_P),
        top_ids=wire(scores.top_ids_Pk) if has_head else None,
        top_logprobs=wire(scores.top_logprobs_Pk) if has_head else None,
        tail_mass=wire(scores.tail_mass_P),
        sample_ids=_optional(scores.sample_ids_Pn),
        sample_logprobs=_optional(scores.sample_logprobs_Pn),
        named_logprobs=_optional(scores.named_logprobs_PK),
        entropy=wire(scores.entropy_P) if spec.entropy else None,
        hidden_states=_optional(hidden_PH),
    )


def _optional(tensor: torch.Tensor | None) -> Tensor | None:
    return None if tensor is None else wire(tensor)


def wire(tensor: torch.Tensor) -> Tensor:
    """A torch tensor as a wire tensor; ids become int32."""
    tensor = tensor.detach().cpu().contiguous()
    if tensor.dtype == torch.int64:
        tensor = tensor.int()
    if tensor.dtype == torch.bfloat16:
        data = tensor.view(torch.int16).numpy().astype("<i2", copy=False).tobytes()
        return Tensor(dtype="bfloat16", shape=tuple(tensor.shape), data=data)
    return Tensor.from_numpy(tensor.numpy())
