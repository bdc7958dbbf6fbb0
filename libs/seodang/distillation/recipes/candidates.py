"""Tokens that the student chooses for the teacher to score: its own head, and systematic draws from its own tail.

A reverse KL or JSD asks for the teacher's probability where the student puts its own, which no stored signal of the
teacher knows. P positions of a step, N of one batch, K candidates a position, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seodang.distillation.loss import CandidateSignal
from seodang.distillation.spec import SampledTarget
from seodang.distillation.targets import Shard
from seodang.distillation.training.batches import Batch, Indices
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.student import Student

_CHUNK: Final = 512


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the teacher is asked, and how much each answer weighs."""

    ids_PK: npt.NDArray[np.int32]
    weights_PK: npt.NDArray[np.float32]
    """1 for the head; for a draw, tail mass / (draws x probability): one over its expected number of draws."""


def choose_candidates(
    student: Student, batches: Sequence[Batch], target: SampledTarget, temperature: float, seed: Sequence[int]
) -> Candidates:
    """The candidates at every position of a step, the same for the same student and seed."""
    positions, width = sum(len(batch.labels_N) for batch in batches), target.head + target.tail_draws
    ids_PK = np.zeros((positions, width), np.int32)
    weights_PK = np.zeros((positions, width), np.float32)
    starts_P = np.random.default_rng([*seed]).random(positions)
    with torch.no_grad():
        for batch in (batch.to(student.device) for batch in batches):
            hidden_NH = trained_hidden(student, batch)
            for begin in range(0, len(batch.rows_N), _CHUNK):
                rows = batch.rows_N[begin : begin + _CHUNK]
                logits_CV = hidden_NH[begin : begin + _CHUNK] @ student.head_VH.T / temperature
                ids, weights = _choose(logits_CV.double().softmax(-1).cpu(), target, torch.from_numpy(starts_P[rows]))
                ids_PK[rows], weights_PK[rows] = ids.numpy(), weights.numpy()
    return Candidates(ids_PK, weights_PK)


def candidate_signal(shard: Shard, chosen: Candidates, rows: Indices) -> CandidateSignal:
    """What a teacher, whose answer the shard is, said at some of the positions."""
    log_probs_PK = shard.column("log_probs").reshape(chosen.ids_PK.shape)
    return CandidateSignal(
        torch.from_numpy(chosen.ids_PK[rows].astype(np.int64)),
        torch.from_numpy(log_probs_PK[rows]),
        torch.from_numpy(chosen.weights_PK[rows]),
    )


def _choose(mass_CV: Tensor, target: SampledTarget, start_C: Tensor) -> tuple[Tensor, Tensor]:
    """Ids and weights [C, K]. A systematic draw takes every 1/n-th of the tail's mass from one uniform start on."""
    top = mass_CV.topk(target.head).indices
    tail_CV = mass_CV.scatter(1, top, 0.0)
    total_C1 = tail_CV.sum(1, keepdim=True)
    steps_CV = tail_CV.cumsum(1).mul_(target.tail_draws / total_C1)
    hits = torch.searchsorted(steps_CV, start_C[:, None] + torch.arange(target.tail_draws), right=True)
    draws = hits.clamp_(max=mass_CV.shape[1] - 1)
    weights = total_C1 / (target.tail_draws * tail_CV.gather(1, draws))
    # Rounding at the very end of the sum may hit a token without mass; it then weighs nothing.
    weights = weights.nan_to_num(0.0, posinf=0.0)
    return torch.cat([top, draws], 1), torch.cat([torch.ones_like(top, dtype=weights.dtype), weights], 1)
