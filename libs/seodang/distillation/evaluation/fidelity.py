"""How close a student's distributions are to the teacher's, position by position on held-out answers."""

from dataclasses import dataclass

import numpy as np
import torch

from seodang.distillation.data import Encoded
from seodang.distillation.loss import Objective, distillation_loss
from seodang.distillation.targets import Shard, ShardSignals
from seodang.distillation.targets.shard import Array
from seodang.distillation.training.batches import micro_batches
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.student import Student


@dataclass(frozen=True)
class Fidelity:
    """Means over the positions."""

    forward_kl: float
    """KL(teacher | student) in nats; unbiased where the teacher's signal is."""
    top1_agreement: float
    """Share of positions whose likeliest token is the teacher's."""
    cross_entropy: float
    """Of the right answers, in nats."""


def fidelity(student: Student, held_out: Encoded, signals: ShardSignals, teacher_top1: Array) -> Fidelity:
    """Measures a student.

    Args:
        signals: the teacher's on ``held_out``, at temperature 1.
        teacher_top1: the teacher's likeliest token at each position, int32 [P].
    """
    sums = np.zeros(3)
    with torch.no_grad():
        for made in micro_batches(held_out, np.arange(len(held_out))):
            batch = made.to(student.device)
            hidden_NH = trained_hidden(student, batch)
            count = len(batch.labels_N)
            signal = signals.at(batch.rows_N).to(student.device)
            kl = distillation_loss(hidden_NH, student.head_VH, batch.labels_N, signal, Objective()).divergence
            hard = Objective(cross_entropy_weight=1.0)
            labels = distillation_loss(hidden_NH, student.head_VH, batch.labels_N, None, hard).cross_entropy
            agreed = (hidden_NH @ student.head_VH.T).argmax(-1).cpu().numpy() == teacher_top1[batch.rows_N]
            sums += [float(kl) * count, float(agreed.sum()), float(labels) * count]
    kl_mean, agreement, cross_entropy = (sums / int(held_out.positions.sum())).tolist()
    return Fidelity(kl_mean, agreement, cross_entropy)


def top1_of(shard: Shard) -> Array:
    """The teacher's likeliest token at each position, int32 [P], from the exact entries of a sampled target."""
    counts = shard.column("counts").astype(np.int64)
    starts = np.cumsum(counts) - counts
    exact = np.where(shard.column("draws") == 0, shard.column("log_probs"), -np.inf)
    is_best = exact == np.repeat(np.maximum.reduceat(exact, starts), counts)
    first = np.minimum.reduceat(np.where(is_best, np.arange(len(exact)), len(exact)), starts)
    best: Array = shard.column("ids")[first]
    return best
