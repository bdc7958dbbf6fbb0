"""Tokens that the student chooses for the teacher to score, in proportion to its own probabilities.

A reverse KL or JSD asks for the teacher's probability where the student puts its own, which no stored signal of the
teacher knows. P positions of a step, N of one batch, K candidates a position, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from seodang.distillation.loss import CandidateSignal
from seodang.distillation.targets import Shard
from seodang.distillation.training.batches import Batch, Indices
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.group import ALONE, Group
from seodang.distillation.training.student import Student

_CHUNK: Final = 512


@dataclass(frozen=True, eq=False)
class Candidates:
    """What the teacher is asked, and how much each answer weighs."""

    ids_PK: npt.NDArray[np.int32]
    weights_PK: npt.NDArray[np.float32]
    """One over the probability that the token is chosen; 1 for those that are certain."""

    def at(self, rows: Indices) -> Self:
        """At some of the positions."""
        return type(self)(self.ids_PK[rows], self.weights_PK[rows])


def choose_candidates(
    student: Student,
    batches: Sequence[Batch],
    count: int,
    temperature: float,
    seed: Sequence[int],
    group: Group = ALONE,
) -> Candidates:
    """``count`` candidates at every position of a step, the same for the same student and seed. The ranks of a group
    call this together, and each gets those of the batches that it owns.
    """
    positions = sum(len(batch.labels_N) for batch in batches)
    ids_PK = np.zeros((positions, count), np.int32)
    weights_PK = np.zeros((positions, count), np.float32)
    starts_P = np.random.default_rng([*seed]).random(positions)
    with torch.no_grad():
        for batch, weight in group.share(batches):
            starts_N = torch.from_numpy(starts_P[batch.rows_N])
            made = partial(_chosen, student, batch.to(student.device), count, temperature, starts_N)
            ids_NK, weights_NK = student.place.compute(made)
            if weight:
                ids_PK[batch.rows_N], weights_PK[batch.rows_N] = ids_NK.numpy(), weights_NK.numpy()
    return Candidates(ids_PK, weights_PK)


def _chosen(student: Student, batch: Batch, count: int, temperature: float, starts_N: Tensor) -> tuple[Tensor, Tensor]:
    parts = []
    hidden_NH = trained_hidden(student, batch)
    for begin in range(0, len(starts_N), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        logits_CV = hidden_NH[rows] @ student.head_VH.T / temperature
        parts.append(choose(logits_CV.double().softmax(-1).cpu(), count, starts_N[rows]))
    ids, weights = zip(*parts, strict=True)
    return torch.cat(ids), torch.cat(weights)


def candidate_signal(shard: Shard, chosen: Candidates, rows: Indices) -> CandidateSignal:
    """What a teacher, whose answer the shard is, said at some of the positions."""
    log_probs_PK = shard.column("log_probs").reshape(chosen.ids_PK.shape)
    return CandidateSignal(
        torch.from_numpy(chosen.ids_PK[rows].astype(np.int64)),
        torch.from_numpy(log_probs_PK[rows]),
        torch.from_numpy(chosen.weights_PK[rows]),
    )


def choose(mass_CV: Tensor, count: int, start_C: Tensor) -> tuple[Tensor, Tensor]:
    """Ids and weights [C, K = count]: sampling without waste in proportion to the mass (Madow, 1949).

    A token whose mass is at least a draw's share is certain: it weighs 1 and leaves the rest to fewer draws, which each
    take an equal share from one uniform start on. So a sharp position spends its entries on its head, a flat one on
    its tail, and a draw hits no token twice.
    """
    top = mass_CV.topk(count)
    order = torch.arange(count)
    left_CK = mass_CV.sum(1, keepdim=True) - top.values.cumsum(1) + top.values  # before this token and those below it
    certain_CK = (top.values * (count - order) >= left_CK).cumprod(1).bool()
    heads_C1 = certain_CK.sum(1, keepdim=True)
    tail_CV = mass_CV.scatter(1, top.indices, top.values.masked_fill(certain_CK, 0.0))
    share_C1 = tail_CV.sum(1, keepdim=True) / (count - heads_C1).clamp(min=1)
    points_CK = (start_C[:, None] + (order - heads_C1).clamp(min=0)) * share_C1
    drawn_CK = torch.searchsorted(tail_CV.cumsum(1), points_CK, right=True).clamp_(max=mass_CV.shape[1] - 1)
    # Rounding at the very end of the sum may hit a token without mass; it then weighs nothing.
    weights_CK = (share_C1 / tail_CV.gather(1, drawn_CK)).nan_to_num(0.0, posinf=0.0)
    ids_CK = torch.where(certain_CK, top.indices, drawn_CK)
    return ids_CK, weights_CK.masked_fill(certain_CK, 1.0)
