"""How close a student's distributions are to the teacher's, position by position on held-out answers.

N positions of a batch, V vocabulary, P positions in all.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from seodang.distillation.data import Encoded
from seodang.distillation.evaluation.calibration import reliability_of
from seodang.distillation.loss import Objective, SampledSignal
from seodang.distillation.result import ReliabilityBin
from seodang.distillation.targets import Shard, ShardSignals
from seodang.distillation.targets.shard import Array
from seodang.distillation.training.batches import micro_batches
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.student import Student

OVERLAP_TOKENS: Final = 8


@dataclass(frozen=True)
class Fidelity:
    """Means over the positions. What compares token by token is None of a student with another tokenizer."""

    cross_entropy: float
    """Of the right answers, in nats a position of the teacher's."""
    reliability: tuple[ReliabilityBin, ...]
    forward_kl: float | None = None
    """KL(teacher | student) in nats; unbiased where the teacher's signal is."""
    top1_agreement: float | None = None
    """Share of positions whose likeliest token is the teacher's."""
    top8_overlap: float | None = None
    """Share of the teacher's ``OVERLAP_TOKENS`` likeliest tokens that are among the student's as many."""
    draft_acceptance: float | None = None
    """Probability that the teacher accepts the token which the student drafts for it (speculative sampling, Leviathan
    et al., ICML 2023): the sum of min(p, q), which is 1 - total variation. As unbiased as the KL."""


def fidelity(student: Student, held_out: Encoded, signals: ShardSignals, teacher_top1: Array) -> Fidelity:
    """Measures a student.

    Args:
        signals: the teacher's on ``held_out``, sampled, at temperature 1.
        teacher_top1: the teacher's likeliest token at each position, int32 [P].
    """
    labels = held_out.labels
    sums = np.zeros(5)
    confidence, correct = np.zeros(len(labels)), np.zeros(len(labels), np.bool_)
    with torch.no_grad():
        for made in micro_batches(held_out, np.arange(len(held_out))):
            batch = made.to(student.device)
            log_q_NV = (trained_hidden(student, batch) @ student.head_VH.T).float().log_softmax(-1)
            best_N, choice_N = log_q_NV.max(-1)
            choice = choice_N.cpu().numpy()
            confidence[batch.rows_N] = best_N.exp().cpu().numpy()
            correct[batch.rows_N] = choice == labels[batch.rows_N]
            signal = signals.at(batch.rows_N).to(student.device)
            assert isinstance(signal, SampledSignal)
            log_p_NK = signals.log_probs(batch.rows_N).to(student.device)
            sums += [
                float((choice == teacher_top1[batch.rows_N]).sum()),
                float(_overlap(signal, log_p_NK, log_q_NV).sum()),
                float(_accepted(signal, log_p_NK, log_q_NV).sum()),
                -float(log_q_NV.gather(1, batch.labels_N[:, None]).sum()),
                float(signal.divergence(Objective(), log_q_NV)[0].sum()),  # last: it consumes log q
            ]
    agreement, overlap, acceptance, cross_entropy, kl = (sums / len(labels)).tolist()
    bins = reliability_of(confidence, correct)
    return Fidelity(cross_entropy, bins, kl, agreement, overlap, acceptance)


def fidelity_across(student: Student, held_out: Encoded, teacher_positions: int) -> Fidelity:
    """Measures a student with another tokenizer than the teacher, as far as that can be.

    Args:
        held_out: as the student reads it.
        teacher_positions: of the same answers as the teacher reads them, over which their cross-entropy is divided.
    """
    labels = held_out.labels
    confidence, correct, total = np.zeros(len(labels)), np.zeros(len(labels), np.bool_), 0.0
    with torch.no_grad():
        for made in micro_batches(held_out, np.arange(len(held_out))):
            batch = made.to(student.device)
            log_q_NV = (trained_hidden(student, batch) @ student.head_VH.T).float().log_softmax(-1)
            best_N, choice_N = log_q_NV.max(-1)
            confidence[batch.rows_N] = best_N.exp().cpu().numpy()
            correct[batch.rows_N] = choice_N.cpu().numpy() == labels[batch.rows_N]
            total -= float(log_q_NV.gather(1, batch.labels_N[:, None]).sum())
    return Fidelity(total / teacher_positions, reliability_of(confidence, correct))


def fidelity_of_teacher(held_out: Encoded, shard: Shard) -> Fidelity:
    """Of the teacher to itself, from its own signal on ``held_out``, sampled, at temperature 1."""
    log_prob, top1 = _best_of(shard)
    bins = reliability_of(np.exp(log_prob), top1 == held_out.labels)
    return Fidelity(-float(shard.next_log_probs.mean()), bins)


def top1_of(shard: Shard) -> Array:
    """The teacher's likeliest token at each position, int32 [P], from the exact entries of a sampled target."""
    return _best_of(shard)[1]


def _accepted(signal: SampledSignal, log_p_NK: Tensor, log_q_NV: Tensor) -> Tensor:
    """[N] the expectation over the teacher's tokens of min(1, q / p), which is the sum of min(p, q)."""
    log_ratio_NK = log_q_NV.gather(1, signal.ids_NK) - log_p_NK
    return (signal.probs_NK * log_ratio_NK.clamp(max=0).exp()).sum(1)


def _overlap(signal: SampledSignal, log_p_NK: Tensor, log_q_NV: Tensor) -> Tensor:
    """[N] the shared part of both models' likeliest tokens. The exact entries are likelier than any drawn one."""
    there_NK = log_p_NK.masked_fill(signal.probs_NK == 0, -torch.inf)
    count = min(OVERLAP_TOKENS, there_NK.shape[1], log_q_NV.shape[1])
    teachers_NT = signal.ids_NK.gather(1, there_NK.topk(count).indices)
    students_NT = log_q_NV.topk(count).indices
    return (teachers_NT[:, :, None] == students_NT[:, None]).any(2).float().mean(1)


def _best_of(shard: Shard) -> tuple[Array, Array]:
    """Log-probability [P] and id [P] of the likeliest token."""
    counts = shard.column("counts").astype(np.int64)
    starts = np.cumsum(counts) - counts
    exact = np.where(shard.column("draws") == 0, shard.column("log_probs"), -np.inf)
    best = np.maximum.reduceat(exact, starts)
    is_best = exact == np.repeat(best, counts)
    first = np.minimum.reduceat(np.where(is_best, np.arange(len(exact)), len(exact)), starts)
    return best, np.asarray(shard.column("ids")[first])
