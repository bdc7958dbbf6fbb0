"""The figures of the report in words and cells. What was not measured says so; a figure carries its exact value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import msgspec

from seodang.distillation.result import Cost, Measurement
from seodang.distillation.spec import TEACHER

NOT_MEASURED: Final = "not measured"
_REFERENCE: Final = "the reference"


@dataclass(frozen=True)
class Measure:
    """A row of a table: a field of a measurement or of the cost, how it is shown, what it means."""

    field: str
    title: str
    shown: Callable[[float], str]
    meaning: str
    teacher: str = ""
    """What stands in the teacher's cell, where it cannot have such a figure."""


def share(value: float) -> str:
    """0.953 is ``95.3 %``."""
    return f"{100 * value:.1f} %"


def nats(value: float) -> str:
    """Four digits, whatever the size."""
    return f"{value:.4g}"


def count(value: float) -> str:
    """With thousands apart."""
    return f"{value:,.0f}"


def seconds(value: float) -> str:
    """In hours too where they are many."""
    return f"{value:,.2f} s" if value < 600 else f"{value:,.0f} s ({value / 3600:.2f} h)"


NEARNESS: Final = (
    Measure(
        "forward_kl", "KL(teacher | student), teacher's text", nats,
        "nats a position of the held-out answers; large where the student lacks what the teacher says", _REFERENCE,
    ),
    Measure(
        "reverse_kl", "KL(student | teacher), teacher's text", nats,
        "nats a position of the first of them; large where the student says what the teacher would not", _REFERENCE,
    ),
    Measure(
        "own_text_forward_kl", "KL(teacher | student), own text", nats,
        "nats a position of answers that the student sampled itself", _REFERENCE,
    ),
    Measure(
        "own_text_kl", "KL(student | teacher), own text", nats,
        "the same text, the other way: errors that grow while it is served", _REFERENCE,
    ),
    Measure(
        "top1_agreement", "same first choice", share, "positions whose likeliest token is the teacher's", _REFERENCE
    ),
    Measure(
        "top8_overlap", "shared top 8", share, "of the teacher's eight likeliest tokens, those in the student's eight",
        _REFERENCE,
    ),
    Measure(
        "draft_acceptance", "drafts accepted", share,
        "chance that the teacher accepts a token which the student drafts for it in speculative sampling", _REFERENCE,
    ),
)  # fmt: skip
FLOOR: Final = (
    Measure(
        "noise_floor_kl", "KL(teacher | teacher again)", nats,
        "nats a position between two scorings of the same text, in other batches each: nobody is nearer than this",
    ),
    Measure("noise_floor_agreement", "same first choice as before", share, "positions, between those two scorings"),
)  # fmt: skip
CALIBRATION: Final = (
    Measure(
        "calibration_error", "calibration error", share,
        "how far, on average, the confidence in the likeliest token is from how often it is right",
    ),
    Measure("cross_entropy", "cross-entropy", nats, "nats a position of the right answers, as the teacher reads them"),
)  # fmt: skip
SCORES: Final = (
    Measure("task_score", "score", share, "the task's own metric"),
    Measure("task_score_low", "from", share, "lower bound of its 95 % interval (Wilson)"),
    Measure("task_score_high", "to", share, "upper bound"),
    Measure("examples", "examples", count, "held out; the same for everyone"),
    Measure("parameters", "parameters", count, "of the whole model"),
    Measure(
        "training_tokens",
        "tokens trained on",
        count,
        "prompts included; within a batch of each other at one budget",
        "not trained",
    ),
)
COST: Final = (
    Measure("teacher_positions", "teacher positions", count, "whose signal it gave, for training and measuring"),
    Measure("teacher_tokens", "teacher tokens", count, "of the sequences it scored, prompts included, cached or not"),
    Measure("scoring_flops", "teacher FLOPs", "{:.3g}".format, "estimate: 2 × active parameters × teacher tokens"),
    Measure("signal_bytes", "signal", count, "bytes on the wire"),
    Measure("training_tokens", "training tokens", count, "of student and baselines"),
    Measure("training_flops", "training FLOPs", "{:.3g}".format, "estimate: 6 × parameters × tokens, of each"),
    Measure("scoring_s", "scoring", seconds, "summed over streams that ran side by side"),
    Measure("training_s", "training", seconds, "of student and baselines"),
    Measure("evaluating_s", "measuring", seconds, "of everyone, the teacher included"),
    Measure("wall_s", "wall time", seconds, "while a process of the job ran"),
    Measure("watts", "power", "{:,.0f} W".format, "as the operator states it"),
    Measure("energy_kwh", "energy", "{:.3g} kWh".format, "estimate: power × wall time"),
    Measure("price_per_hour", "price an hour", "{:,.2f}".format, "as the operator states it"),
    Measure("price", "cost", "{:,.2f}".format, "estimate: price an hour × wall time"),
)  # fmt: skip


def contestants_table(measures: Sequence[Measure], measurements: Sequence[Measurement]) -> str:
    """One row a measure, one column a contestant."""
    heading = "".join(f"<th>{escape(each.subject)}</th>" for each in measurements)
    rows = []
    for measure in measures:
        cells = [
            f'<td class="reference">{measure.teacher}</td>'
            if each.subject == TEACHER and measure.teacher
            else _cell(f"measurements/{number}/{measure.field}", getattr(each, measure.field), measure)
            for number, each in enumerate(measurements)
        ]
        rows.append(_row(measure, "".join(cells)))
    return _table(heading, rows)


def cost_table(cost: Cost) -> str:
    """What the job consumed, with the formula of what is estimated."""
    rows = []
    for measure in COST:
        unit = cost.currency if measure.field in ("price_per_hour", "price") else ""
        rows.append(_row(measure, _cell(f"cost/{measure.field}", getattr(cost, measure.field), measure, unit)))
    return _table("<th></th>", rows)


def _row(measure: Measure, cells: str) -> str:
    return f'<tr><th scope="row">{measure.title}</th>{cells}<td class="meaning">{measure.meaning}</td></tr>'


def _cell(fact: str, value: float | None, measure: Measure, unit: str = "") -> str:
    if value is None:
        return f'<td class="absent" data-fact="{fact}">{NOT_MEASURED}</td>'
    exact = msgspec.json.encode(value).decode()
    return f'<td data-fact="{fact}" data-value="{exact}">{escape(f"{measure.shown(value)} {unit}".strip())}</td>'


def _table(heading: str, rows: Sequence[str]) -> str:
    inside = "\n".join(rows)
    return f"<table>\n<tr><th></th>{heading}<th></th></tr>\n{inside}\n</table>"
