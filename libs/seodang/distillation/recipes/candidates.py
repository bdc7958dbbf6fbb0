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

from seodang.base.errors import InternalFault
from seodang.distillation.group import ALONE, Group
from seodang.distillation.loss import CandidateSignal
from seodang.distillation.runtime_kernels import runtime_kernels
from seodang.distillation.targets import Shard
from seodang.distillation.training.batches import Batch, Indices
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.student import Student
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.walk import Survey, TailDraws

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
    """``count`` candidates at every position of a step, or the whole vocabulary if that is smaller, the same for the
    same student and seed. The ranks of a group call this together, and each gets those of the batches that it owns.
    """
    count = min(count, student.model.config.vocab_size)
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
    kernels = runtime_kernels(student.device.type)
    hidden_NH = trained_hidden(student, batch)
    for begin in range(0, len(starts_N), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        logits_CV = (hidden_NH[rows] @ student.head_VH.T).float()
        parts.append(choose(kernels, logits_CV, count, starts_N[rows].to(student.device), temperature))
    ids, weights = zip(*parts, strict=True)
    return torch.cat(ids).cpu(), torch.cat(weights).cpu()


def candidate_signal(shard: Shard, chosen: Candidates, rows: Indices) -> CandidateSignal:
    """What a teacher, whose answer the shard is, said at some of the positions."""
    log_probs_PK = shard.column("log_probs").reshape(chosen.ids_PK.shape)
    return CandidateSignal(
        torch.from_numpy(chosen.ids_PK[rows].astype(np.int64)),
        torch.from_numpy(log_probs_PK[rows]),
        torch.from_numpy(chosen.weights_PK[rows]),
    )


def choose(
    kernels: Kernels, logits_CV: Tensor, count: int, start_C: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Ids int64 and weights float64 [C, K = count]: sampling without waste in proportion to the probabilities that
    float32 logits give (Madow, 1949).

    A token whose mass is at least a draw's share is certain: it weighs 1 and leaves the rest to fewer draws, which each
    take an equal share from one uniform start on. So a sharp position spends its entries on its head, a flat one on
    its tail, and a draw hits no token twice.

    Raises:
        InternalFault: logits that are no numbers.
    """
    scale, order = 1.0 / temperature, torch.arange(count, device=logits_CV.device)
    survey = Survey.start(len(logits_CV), count, logits_CV.device)
    kernels.survey(survey, logits_CV, scale, 0)
    lse_C = survey.logsumexp()
    if not lse_C.isfinite().all():
        raise InternalFault("the student's logits are no numbers: lower learning_rate")
    top_CK = (survey.top_values_Pk.double() - lse_C[:, None]).exp()
    left_CK = 1.0 - top_CK.cumsum(1) + top_CK  # before this token and those below it
    # One entry at least is drawn: what is left is too small to be told from rounding by a difference, not by its sum.
    certain_CK = (top_CK * (count - order) >= left_CK).cumprod(1).bool() & (order < count - 1)
    heads_CK = survey.top_ids_Pk.masked_fill(~certain_CK, -1)
    rank_CK = order - certain_CK.sum(1, keepdim=True)
    tail_C = _walk(kernels, logits_CV, scale, lse_C, heads_CK, torch.ones_like(lse_C), order[:0].double()).before_P
    share_C1 = tail_C[:, None] / (rank_CK[:, -1:] + 1)
    points_CK = torch.where(certain_CK, -1.0, (start_C[:, None] + rank_CK) * share_C1)
    drawn = _walk(kernels, logits_CV, scale, lse_C, heads_CK, tail_C, points_CK)
    exact_CK = drawn.ids_Pn < 0  # certain, or of a tail without any mass
    weights_CK = (share_C1 / drawn.logprobs_Pn.double().exp()).masked_fill(exact_CK, 1.0)
    return torch.where(exact_CK, survey.top_ids_Pk, drawn.ids_Pn), weights_CK


def _walk(
    kernels: Kernels, logits_CV: Tensor, scale: float, lse_C: Tensor, heads_CK: Tensor, tail_C: Tensor, points: Tensor
) -> TailDraws:
    """Tokens at points [C or 1, any number] of the mass of all tokens but the heads; -1 for a point below 0."""
    points_Cn = points.expand(len(logits_CV), points.shape[-1])
    draws = TailDraws(
        points_Pn=points_Cn,
        tail_P=tail_C,
        normaliser_P=lse_C,
        head_ids_Pk=heads_CK,
        before_P=torch.zeros_like(lse_C),
        ids_Pn=torch.full(points_Cn.shape, -1, device=lse_C.device),
        logprobs_Pn=torch.full(points_Cn.shape, -torch.inf, device=lse_C.device),
    )
    kernels.draw_tail(draws, logits_CV, scale, 0)
    return draws
