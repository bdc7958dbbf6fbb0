"""What the demo found: for the terminal, and as a page with pictures."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seodang.api.distill.v1 import job_pb2
from seodang.cli.contestants import cells, measurement_table, verdict
from seodang.cli.demo.errand import Errand
from seodang.cli.jobs import FollowedJob
from seodang.distillation.plots import Bar, draw_contestants, draw_curves, draw_reliability

_TRUST = (
    "The calibration error is how far, on average over the positions of the right answers, the probability of the "
    "likeliest token is from how often that token is right. Drafts accepted is the chance that the teacher takes a "
    "token which the student drafts for it in speculative sampling. The KL on its own text, in nats a position, is "
    "from the student to the teacher on answers that the student sampled: what it says and its teacher would not; the "
    "reverse KL is the same on the right answers. The shared top 8 are the teacher's eight likeliest tokens that are "
    "among the student's eight."
)


@dataclass(frozen=True)
class Report:
    """Everything that was measured in one run."""

    followed: FollowedJob
    errands: list[Errand]
    wheel: Errand
    """What became of the answered messages: prompts for the next student."""
    seconds: float

    @property
    def measurements(self) -> list[job_pb2.Measurement]:
        """The contestants, the teacher first."""
        return list(self.followed.job.result.measurements)


def print_report(report: Report, page: Path, console: Console) -> None:
    """The report for the terminal."""
    console.rule("[bold]What the students learned")
    console.print(measurement_table(report.measurements))
    console.print(f"\n{verdict(report.measurements)}\n")
    console.rule("[bold]What they answered")
    console.print(_errand_table(report.errands))
    console.rule("[bold]What was asked is what the next student learns from")
    console.print(_errand_table([report.wheel]))
    console.print(f"\nDone in {report.seconds:.0f} s; nothing is left running. The report with pictures: {page}")


def write_report(report: Report, folder: Path) -> Path:
    """The report as ``folder/report.md`` beside its pictures; returns the page."""
    student = report.followed.job.spec.student
    _draw(report, folder, student)
    lines = [f"# What distilling '{student}' was worth", "", verdict(report.measurements), ""]
    lines += ["![contestants](contestants.png)", "", "![training](curves.png)", ""]
    lines += ["| contestant | parameters | score | 95 % interval | KL to teacher | same first choice | examples |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [f"| {' | '.join(cells(each))} |" for each in report.measurements]
    lines += [
        "",
        "## How far their probabilities can be trusted",
        "",
        _TRUST,
        "",
        "![reliability](reliability.png)",
        "",
    ]
    lines += ["| contestant | calibration error | drafts accepted | shared top 8 | reverse KL | KL on its own text |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {each.subject} | {_share(each, 'calibration_error')} | {_share(each, 'draft_acceptance')} | "
        f"{_share(each, 'top8_overlap')} | {_nats(each, 'reverse_kl')} | {_nats(each, 'own_text_kl')} |"
        for each in report.measurements
    ]
    lines += [
        "",
        *_floor_lines(report.measurements[0]),
        *_cost_lines(report.followed.job.result.cost),
        "",
        "## One request through every adapter",
        "",
    ]
    lines += ["| adapter | model | asked | answered | time |", "|---|---|---|---|---|"]
    lines += [
        f"| {each.adapter} | {each.model} | {_cell(each.asked)} | {_cell(each.answered)} | {each.seconds:.2f} s |"
        for each in report.errands
    ]
    lines += ["", "## What was asked is what the next student learns from", "", *_wheel_lines(report.wheel)]
    page = folder / "report.md"
    page.write_text("\n".join([*lines, ""]))
    return page


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _share(measured: job_pb2.Measurement, field: str) -> str:
    return f"{100 * getattr(measured, field):.1f} %" if measured.HasField(field) else "–"  # type: ignore[arg-type]


def _nats(measured: job_pb2.Measurement, field: str) -> str:
    return f"{getattr(measured, field):.3f}" if measured.HasField(field) else "–"  # type: ignore[arg-type]


def _floor_lines(teacher: job_pb2.Measurement) -> list[str]:
    """What such KLs can mean at all; a server of before there was a floor tells none."""
    if not teacher.HasField("noise_floor_kl"):
        return []
    return [f"Asked twice, the teacher is {teacher.noise_floor_kl:.2g} nats a position from itself.", ""]


def _draw(report: Report, folder: Path, student: str) -> None:
    bars = [
        Bar(each.subject, each.task_score, each.task_score_low, each.task_score_high, f"{each.parameters:,}")
        for each in report.measurements
    ]
    metric = report.measurements[0].metric
    draw_contestants(folder / "contestants.png", f"{student}: {metric} on unseen data", metric, bars)
    reliability = {
        each.subject: [(bin_.confidence, bin_.accuracy, bin_.positions) for bin_ in each.reliability]
        for each in report.measurements
    }
    draw_reliability(folder / "reliability.png", f"{student}: as sure as right?", reliability)
    losses: dict[str, list[tuple[int, float]]] = defaultdict(list)
    held_out: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for point in report.followed.curve:
        losses[point.subject].append((point.step, point.loss))
        if point.HasField("eval_loss"):
            held_out[point.subject].append((point.step, point.eval_loss))
    panels = {"training loss": losses} | ({"loss on unseen data": held_out} if held_out else {})
    draw_curves(folder / "curves.png", f"{student}: how they learned", panels)


def _errand_table(errands: list[Errand]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 1, 0))
    for heading in ("", "adapter", "asked", "answered", "time"):
        table.add_column(heading, header_style="bold", overflow="fold")
    for each in errands:
        mark = "[green]✓" if each.worked else "[red]✗"
        table.add_row(mark, each.adapter, each.asked, f"{each.answered}\n[dim]{each.detail}", f"{each.seconds:.2f} s")
    return table


def _wheel_lines(wheel: Errand) -> list[str]:
    return [f"{wheel.asked}, answered by {wheel.model} → {wheel.answered} ({wheel.detail}; {wheel.seconds:.1f} s)."]


def _cost_lines(cost: job_pb2.Cost) -> list[str]:
    return [
        f"The teacher scored {cost.teacher_positions:,} positions in {cost.scoring_s:.0f} s "
        f"({cost.signal_bytes / max(cost.teacher_positions, 1):.1f} bytes each); training read "
        f"{cost.training_tokens:,} tokens in {cost.training_s:.0f} s, about {cost.training_flops:.2g} FLOPs; "
        f"measuring took {cost.evaluating_s:.0f} s."
    ]
