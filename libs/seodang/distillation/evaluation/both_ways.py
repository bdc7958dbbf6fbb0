"""KL between teacher and student in either direction on any text, and the teacher's from itself. All are unbiased.

KL(teacher | student) is linear in the teacher's probabilities, so a sampled target estimates it. KL(student | teacher)
asks for the teacher's probabilities where the student puts its own, so there the student chooses the tokens. Neither
needs hidden states, which would be exact, but cost a teacher's whole head and are not told by every server; what
sampling adds is small beside the spread over positions, of which so many more can be asked for.

N positions of a batch, P positions in all, K entries a position.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from seodang.distillation.data import Encoded
from seodang.distillation.loss import Objective, SampledSignal, Signal, distillation_loss
from seodang.distillation.recipes import Room
from seodang.distillation.recipes.candidates import candidate_signal, choose_candidates
from seodang.distillation.spec import SampledTarget
from seodang.distillation.targets import Shard, ShardSignals, Unit, plan_units, score_units
from seodang.distillation.targets.shard import Array
from seodang.distillation.training import micro_batches
from seodang.distillation.training.batches import Batch, Indices
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.student import Student

# Nearly the whole distribution: measurements should be exact rather than cheap.
EVAL_TARGET: Final = SampledTarget(head=32, tail_draws=32)
CANDIDATES: Final = SampledTarget(head=16, tail_draws=16)
# Far from the size of the first scoring's requests, so that other sequences share a step.
_COMPANY_TOKENS: Final = 2048


@dataclass(frozen=True)
class NoiseFloor:
    """How far a teacher is from itself."""

    kl: float
    """Of what it said the second time from what it said the first, in nats a position."""
    agreement: float
    """Share of positions whose likeliest token was the same both times."""


def forward_kl(room: Room, purpose: str, student: Student, text: Encoded, on_positions: Callable[[int], None]) -> float:
    """KL(first teacher | student) in nats a position of the text's answers.

    Args:
        purpose: names the store of what the teacher says, in the job's folder.
        on_positions: told how many more positions the teacher has scored.
    """
    store = room.store(purpose, 0, EVAL_TARGET, text.sha256, temperature=1.0, packed=False)
    shard = score_units(store, plan_units(text), room.teachers[0], on_positions)
    batches = micro_batches(text, np.arange(len(text)))
    return _mean_divergence(student, batches, ShardSignals(shard, EVAL_TARGET).at, Objective())


def reverse_kl(room: Room, purpose: str, student: Student, text: Encoded, on_positions: Callable[[int], None]) -> float:
    """KL(student | first teacher) in nats a position of the text's answers; for the rest see ``forward_kl``."""
    batches = micro_batches(text, np.arange(len(text)))
    count = CANDIDATES.head + CANDIDATES.tail_draws
    chosen = choose_candidates(student, batches, count, 1.0, (room.spec.seed,))
    store = room.store(purpose, 0, CANDIDATES, text.sha256, temperature=1.0, packed=False, candidates=True)
    shard = score_units(store, [Unit("00000000", text, chosen.ids_PK)], room.teachers[0], on_positions)
    objective = Objective("reverse_kl")
    return _mean_divergence(student, batches, lambda rows: candidate_signal(shard, chosen, rows), objective)


def noise_floor(room: Room, text: Encoded, shard: Shard, on_positions: Callable[[int], None]) -> NoiseFloor:
    """Scores a text again, its sequences in other company, and compares.

    Both scorings are of one running server, so the floor of a whole fleet is at least this one.

    Args:
        shard: what the first teacher said of at least this text, to ``EVAL_TARGET``.
    """
    order, rows_P = _backwards(text)
    signals = ShardSignals(shard, EVAL_TARGET)
    first = signals.at(rows_P)
    assert isinstance(first, SampledSignal)
    ids_PK, weights_PK = first.ids_NK.numpy(), first.probs_NK.numpy().astype(np.float64)
    backwards = text.select(order)
    store = room.store("again", 0, EVAL_TARGET, backwards.sha256, temperature=1.0, packed=False, candidates=True)
    units = _with_candidates(plan_units(backwards, _COMPANY_TOKENS), ids_PK.astype(np.int32))
    again = score_units(store, units, room.teachers[0], on_positions)
    log_p_PK = signals.log_probs(rows_P).numpy().astype(np.float64)
    log_again_PK = again.column("log_probs").reshape(ids_PK.shape).astype(np.float64)
    return self_divergence(weights_PK, log_p_PK, log_again_PK)


def self_divergence(weights_PK: Array, log_p_PK: Array, log_again_PK: Array) -> NoiseFloor:
    """The floor from the entries of a first scoring, whose weights (0: no entry) have its probabilities as expectation.

    Summed is p log(p / p') - p + p', whose sum over a vocabulary is the KL. Unlike p log(p / p') it is nowhere
    negative, so that few entries tell the sum even where it is as small as rounding.
    """
    there_PK = weights_PK > 0
    gap_PK = np.where(there_PK, log_again_PK - log_p_PK, 0.0)
    terms_PK = weights_PK * (np.expm1(gap_PK) - gap_PK)
    one, two = (np.where(there_PK, each, -np.inf).argmax(1) for each in (log_p_PK, log_again_PK))
    return NoiseFloor(float(terms_PK.sum(1).mean()), float((one == two).mean()))


def _mean_divergence(
    student: Student, batches: Sequence[Batch], signal_at: Callable[[Indices], Signal], objective: Objective
) -> float:
    total, positions = 0.0, 0
    with torch.no_grad():
        for made in batches:
            batch = made.to(student.device)
            signal = signal_at(batch.rows_N).to(student.device)
            hidden_NH = trained_hidden(student, batch)
            parts = distillation_loss(hidden_NH, student.head_VH, batch.labels_N, signal, objective)
            total += float(parts.divergence) * len(batch.labels_N)
            positions += len(batch.labels_N)
    return total / positions


def _backwards(text: Encoded) -> tuple[list[int], Indices]:
    """The sequences from last to first, and where their positions were."""
    order = list(range(len(text)))[::-1]
    return order, np.concatenate([text.first_rows[index] + np.arange(text.positions[index]) for index in order])


def _with_candidates(units: Iterator[Unit], ids_PK: Array) -> Iterator[Unit]:
    begin = 0
    for unit in units:
        end = begin + int(unit.sequences.positions.sum())
        yield Unit(unit.name, unit.sequences, ids_PK[begin:end])
        begin = end
