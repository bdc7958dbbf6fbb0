"""The model's distribution at given positions, exact where it says so, and never positions x vocabulary at once.

P positions, V vocabulary, k head, n tail draws, K named ids. The vocabulary is walked in tiles of at most
``TILE_FLOATS``: once for normaliser, head, entropy and named ids, and once more if there are tail draws. A single
tile's logits are computed once for both.

The draws are systematic: n points, equally spaced from one uniform offset, on the tail's cumulative mass. So a token
with a share s of the tail is drawn n*s times on average, each draw weighs tail_mass / n, and sums over the vocabulary
are estimated without bias (Madow, 1949; in distillation: Anshumann et al., "Sparse Logit Sampling", ACL 2025).
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Final, Protocol

import numpy as np
import torch

from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.uniform import uniforms
from seodang.runtime.walk import Survey, TailDraws
from seodang.worker.messages import ScoreChunk
from seodang.worker.tensor import Tensor

TILE_FLOATS: Final = 12 * 2**20


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
    kernels: Kernels,
    logits: Logits,
    vocabulary: int,
    spec: ScoreSpec,
    next_ids_P: torch.Tensor,
    named_ids_PK: torch.Tensor | None,
    positions_P: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Scores:
    """Score P positions; -1 among ids means none, and scores NaN for a next id and -inf for a named one."""
    count, scale, device = len(next_ids_P), 1.0 / spec.temperature, next_ids_P.device
    tiles = list(_tiles(vocabulary, max(1, TILE_FLOATS // max(1, count))))
    if len(tiles) == 1:
        logits = _Kept(logits(tiles[0]))
    wanted = _Wanted(next_ids_P[:, None] if named_ids_PK is None else torch.cat([next_ids_P[:, None], named_ids_PK], 1))
    survey = Survey.start(count, min(spec.top_k, vocabulary), device)
    for tile in tiles:
        x_PS = logits(tile)
        kernels.survey(survey, x_PS, scale, tile.start)
        wanted.visit(tile, x_PS, scale)
    lse_P = survey.logsumexp()
    found_PX = (wanted.logits_PX - lse_P[:, None]).float()
    next_P = torch.where(next_ids_P >= 0, found_PX[:, 0], torch.nan)
    top_P_k = survey.top_values_Pk.double() - lse_P[:, None]
    tail_P = (1.0 - top_P_k.exp().sum(-1)).clamp_(min=0.0) if spec.top_k < vocabulary else torch.zeros_like(lse_P)
    draws: TailDraws | None = None
    if spec.tail_samples:
        offsets_P1 = torch.from_numpy(uniforms(spec.seed, positions_P))[:, None].to(device)
        draws = TailDraws.start(offsets_P1, spec.tail_samples, tail_P, lse_P, survey.top_ids_Pk)
        for tile in tiles:
            kernels.draw_tail(draws, logits(tile), scale, tile.start)
    return Scores(
        logsumexp_P=lse_P.float(),
        next_logprobs_P=next_P,
        top_ids_Pk=survey.top_ids_Pk,
        top_logprobs_Pk=top_P_k.float(),
        tail_mass_P=tail_P.float(),
        entropy_P=survey.entropy(),
        named_logprobs_PK=None if named_ids_PK is None else found_PX[:, 1:],
        sample_ids_Pn=None if draws is None else draws.ids_Pn,
        sample_logprobs_Pn=None if draws is None else draws.logprobs_Pn,
    )


def _tiles(vocabulary: int, width: int) -> Iterator[slice]:
    for begin in range(0, vocabulary, width):
        yield slice(begin, min(begin + width, vocabulary))


@dataclass(frozen=True, slots=True)
class _Kept:
    """Logits of the whole vocabulary."""

    logits_PV: torch.Tensor

    def __call__(self, vocabulary: slice) -> torch.Tensor:
        return self.logits_PV[:, vocabulary]


class _Wanted:
    """float64 logits of ids that are asked for; -inf for those that are none."""

    def __init__(self, ids_PX: torch.Tensor) -> None:
        self._ids_PX = ids_PX
        self.logits_PX = torch.full(ids_PX.shape, -torch.inf, dtype=torch.float64, device=ids_PX.device)

    def visit(self, tile: slice, x_PS: torch.Tensor, scale: float) -> None:
        inside = (self._ids_PX >= tile.start) & (self._ids_PX < tile.stop)
        columns = (self._ids_PX - tile.start).clamp(0, tile.stop - tile.start - 1)
        self.logits_PX = torch.where(inside, (x_PS.gather(1, columns) * scale).double(), self.logits_PX)


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
