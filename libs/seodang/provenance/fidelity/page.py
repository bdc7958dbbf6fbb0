"""``fidelity.html``: the report for people. One file, rendered from the record alone; it loads nothing."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import msgspec

from seodang.distillation.folder import write_whole
from seodang.distillation.result import Measurement
from seodang.provenance.card import recipe_in_words
from seodang.provenance.fidelity.charts import (
    Dots,
    Interval,
    draw_intervals,
    draw_legend,
    draw_lines,
    draw_reliability,
)
from seodang.provenance.fidelity.facts import Curve, FidelityReport
from seodang.provenance.fidelity.tables import (
    CALIBRATION,
    FLOOR,
    NEARNESS,
    NOT_MEASURED,
    SCORES,
    contestants_table,
    cost_table,
    nats,
    share,
)
from seodang.provenance.files import CARD, FIDELITY, FIDELITY_PAGE

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;color:#1f2937;background:#fff;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}
table{border-collapse:collapse;margin:.8rem 0;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .8rem .25rem 0;text-align:right;vertical-align:top;border-bottom:1px solid #e5e7eb}
th[scope=row]{text-align:left;font-weight:500;white-space:nowrap}
.meaning{text-align:left;color:#6b7280;font-size:.86rem}.absent,.reference{color:#9ca3af;font-style:italic}
.row{display:flex;flex-wrap:wrap;gap:1.5rem;align-items:flex-start}
svg{max-width:100%;height:auto}svg text{font:11px system-ui,sans-serif;fill:#4b5563}
svg .name{font-size:12px;fill:#1f2937}
.grid{stroke:#e5e7eb}.whisker{stroke:#1f2937;stroke-width:1.4;fill:none}.diagonal{stroke:#9ca3af;stroke-dasharray:4 4}
.line{fill:none;stroke-width:1.6}
.legend span{margin-right:1.2rem}.legend i{display:inline-block;width:.8rem;height:.8rem;margin-right:.35rem}
figure{margin:0}figcaption{font-size:.86rem;color:#6b7280}
"""
# A browser that obeys it could not load anything even if the page asked for it.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"


def render_page(report: FidelityReport) -> str:
    """The page as HTML."""
    title = escape(f"Fidelity of {report.student}")
    sections = [
        f"<h1>{title}</h1>",
        _summary(report),
        "<h2>What it can do</h2>",
        *_scores(report),
        "<h2>How near it is to its teacher</h2>",
        *_nearness(report),
        "<h2>Whether its confidence can be trusted</h2>",
        *_calibration(report),
        "<h2>How they learned</h2>",
        *_curves(report),
        "<h2>What it took</h2>",
        cost_table(report.cost),
        _closing(report),
    ]
    inside = "\n".join(sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n<style>{_STYLE}</style>\n</head>\n'
        f"<body>\n{inside}\n</body>\n</html>\n"
    )


def write_report(folder: Path, report: FidelityReport) -> None:
    """Writes the report into a student's folder, as JSON and as a page."""
    write_whole(folder / FIDELITY, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    write_whole(folder / FIDELITY_PAGE, render_page(report).encode())


def _summary(report: FidelityReport) -> str:
    student, teacher = report.measured_student, report.teacher
    said = (
        f"{escape(student.metric)} {share(student.task_score)} on {student.examples:,} held-out examples, its teacher "
        f"{share(teacher.task_score)}; {student.parameters:,} parameters beside {teacher.parameters:,}. "
    )
    floor, kl = teacher.noise_floor_kl, student.forward_kl
    if kl is None:
        said += f"Its KL to the teacher was {NOT_MEASURED}."
    elif floor is None:
        said += f"It is {nats(kl)} nats a position from its teacher; how far that is from itself was {NOT_MEASURED}."
    else:
        said += f"It is {nats(kl)} nats a position from its teacher, which is {nats(floor)} from itself."
    return f"<p>{said}</p>"


def _scores(report: FidelityReport) -> list[str]:
    intervals = [
        Interval(each.subject, each.task_score, each.task_score_low, each.task_score_high)
        for each in report.measurements
    ]
    taught = "".join(
        f"<li><b>{escape(subject)}</b>: {escape(recipe_in_words(recipe))}</li>"
        for subject, recipe in report.recipes.items()
    )
    return [
        draw_intervals("Scores with their 95 % intervals", intervals),
        contestants_table(SCORES, report.measurements),
        "<p>Baselines have the student's shape, data, budget and seed, and were taught another way:</p>",
        f"<ul>{taught}</ul>",
    ]


def _nearness(report: FidelityReport) -> list[str]:
    return [
        contestants_table(NEARNESS, report.measurements),
        "<p>The teacher's floor says what such numbers can mean at all:</p>",
        contestants_table(FLOOR, [report.teacher]),
    ]


def _calibration(report: FidelityReport) -> list[str]:
    table = contestants_table(CALIBRATION, report.measurements)
    lines = {
        each.subject: [(bin_.confidence, bin_.accuracy, bin_.positions) for bin_ in each.reliability]
        for each in report.measurements
        if each.reliability
    }
    if not lines:
        return [table, _absent("The reliability diagram")]
    subjects = _subjects(report.measurements)
    return [table, draw_legend(list(lines)), draw_reliability("Reliability", lines, subjects)]


def _curves(report: FidelityReport) -> list[str]:
    subjects = _subjects(report.measurements)
    losses: tuple[tuple[str, Callable[[Curve], Dots]], ...] = (
        ("loss on training data, each recipe's own", lambda curve: [(dot.step, dot.loss) for dot in curve.training]),
        (
            "cross-entropy of answers that nobody trained on",
            lambda curve: [(dot.step, dot.loss) for dot in curve.development],
        ),
    )
    figures = []
    for title, dots_of in losses:
        lines = {curve.subject: dots for curve in report.curves if (dots := dots_of(curve))}
        if lines:
            picture = draw_lines(title, "optimiser step", lines, subjects)
            figures.append(f"<figure>{picture}<figcaption>{title}</figcaption></figure>")
    if not figures:
        return [_absent("Training curves")]
    shown = [curve.subject for curve in report.curves]
    return [draw_legend(shown), f'<div class="row">{"".join(figures)}</div>']


def _closing(report: FidelityReport) -> str:
    return (
        "<p>KLs, drafts accepted and the floor are estimates without bias, from some 32 to 64 tokens a position "
        "instead of the whole vocabulary.</p>\n"
        f"<p>Measured by {escape(report.job)}, of the student with sha256 <code>{report.student_sha256}</code>. "
        f'The same facts for machines: <a href="{FIDELITY}">{FIDELITY}</a>; where the student comes from: '
        f'<a href="{CARD}">{CARD}</a>.</p>'
    )


def _absent(what: str) -> str:
    return f'<p class="absent">{what}: {NOT_MEASURED}.</p>'


def _subjects(measurements: Sequence[Measurement]) -> list[str]:
    return [each.subject for each in measurements]
