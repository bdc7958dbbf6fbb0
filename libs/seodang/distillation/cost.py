"""What a job consumed: counted where it can be, by a stated formula where not, and left open where nobody knows."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from seodang.distillation.events import AnyEvent, StateChanged, read_events
from seodang.distillation.recipes import Room
from seodang.distillation.result import Cost
from seodang.distillation.targets import ShardRecord, read_identity, read_ledger
from seodang.distillation.teaching import training_state

_HOUR_S: Final = 3600.0


@dataclass(frozen=True)
class Rates:
    """What the operator says of the machines that a job keeps busy; None was not said, and nothing is made of it."""

    watts: float | None = None
    price_per_hour: float | None = None
    currency: str = ""


NO_RATES: Final = Rates()


def cost_of(room: Room, parameters: Mapping[str, int], evaluating_s: float, rates: Rates) -> Cost:
    """The cost of a job whose subjects are trained and measured.

    Args:
        parameters: of each contestant.
        evaluating_s: what measuring took.
    """
    ledgers = [
        (read_identity(folder).weights_sha256, ledger)
        for folder in room.folder.target_folders()
        if (ledger := read_ledger(folder))  # beside the stores lie answers that the teacher wrote, which have none
    ]
    records = [record for _, ledger in ledgers for record in ledger]
    states = {subject: training_state(room, subject) for subject in room.spec.subjects}
    events, _ = read_events(room.folder.events)
    wall_s = worked_s(events, time.time())
    active = {teacher.identity.weights_sha256: teacher.identity.active_parameters for teacher in room.teachers}
    return Cost(
        teacher_positions=sum(record.positions for record in records),
        signal_bytes=sum(record.signal_bytes for record in records),
        training_tokens=sum(state.tokens for state in states.values()),
        training_flops=sum(6.0 * parameters[subject] * state.tokens for subject, state in states.items()),
        scoring_s=sum(record.seconds for record in records),
        training_s=sum(state.seconds for state in states.values()),
        evaluating_s=evaluating_s,
        teacher_tokens=None if _uncounted(records) else sum(record.tokens for record in records),
        scoring_flops=scoring_flops(ledgers, active),
        wall_s=wall_s,
        watts=rates.watts,
        energy_kwh=None if rates.watts is None else rates.watts / 1000 * wall_s / _HOUR_S,
        price_per_hour=rates.price_per_hour,
        price=None if rates.price_per_hour is None else rates.price_per_hour * wall_s / _HOUR_S,
        currency=rates.currency,
    )


def scoring_flops(
    ledgers: Sequence[tuple[str, Sequence[ShardRecord]]], active_parameters: Mapping[str, int]
) -> float | None:
    """2 x active parameters x tokens over all stores; None if a teacher or a ledger does not tell its part.

    Args:
        ledgers: of each store, the digest of its teacher's weights and its shards.
        active_parameters: of each teacher, by the same digest; 0 is unknown.
    """
    total = 0.0
    for weights_sha256, records in ledgers:
        parameters = active_parameters.get(weights_sha256, 0)
        if not parameters or _uncounted(records):
            return None
        total += 2.0 * parameters * sum(record.tokens for record in records)
    return total


def worked_s(events: Sequence[AnyEvent], now_s: float) -> float:
    """How long a job's processes worked until now. Each begins by preparing; of one that died, all counts until it last
    said something.
    """
    begins = [n for n, event in enumerate(events) if isinstance(event, StateChanged) and event.stage == "preparing"]
    total = 0.0
    for begin, end in pairwise([*begins, len(events)]):
        last_s = now_s if end == len(events) else events[end - 1].time_s
        total += max(last_s - events[begin].time_s, 0.0)
    return total


def _uncounted(records: Sequence[ShardRecord]) -> bool:
    """Whether some shard is of before tokens were counted."""
    return any(record.tokens == 0 for record in records)
