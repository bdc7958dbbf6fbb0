"""Teacher, student and baselines side by side: what a job measured, in words and as rows."""

from collections.abc import Sequence

from rich.table import Table

from seodang.api.distill.v1 import job_pb2


def verdict(measurements: Sequence[job_pb2.Measurement]) -> str:
    """In one sentence, what distillation was worth; a student that lost says so."""
    by_subject = {each.subject: each for each in measurements}
    student = by_subject["student"]
    others = [each for name, each in by_subject.items() if name not in {"student", "teacher"}]
    best = max(others, key=lambda each: each.task_score, default=None)
    behind = 100 * (by_subject["teacher"].task_score - student.task_score)
    share = student.parameters / by_subject["teacher"].parameters
    said = f"The student has {share:.1%} of the teacher's parameters and is {_points(behind)} {_side(behind)} it"
    if best is None:
        return f"{said}."
    ahead = 100 * (student.task_score - best.task_score)
    if ahead > 0:
        return f"{said}; it is {_points(ahead)} ahead of the same student trained without the teacher."
    return f"{said}; it LOSES to '{best.subject}', the same student trained without the teacher, by {_points(-ahead)}."


def measurement_table(measurements: Sequence[job_pb2.Measurement]) -> Table:
    """The contestants as a table for the terminal."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    headings = ("contestant", "parameters", measurements[0].metric, "95 % interval", "KL", "same choice", "examples")
    for heading in headings:
        table.add_column(heading, header_style="bold")
    for each in measurements:
        table.add_row(*cells(each))
    return table


def cells(each: job_pb2.Measurement) -> tuple[str, ...]:
    """A contestant's row: name, parameters, score, interval, KL, agreement, examples."""
    return (
        each.subject,
        f"{each.parameters:,}",
        f"{100 * each.task_score:.1f}",
        f"{100 * each.task_score_low:.1f} – {100 * each.task_score_high:.1f}",
        f"{each.forward_kl:.3f}" if each.HasField("forward_kl") else "–",
        f"{100 * each.top1_agreement:.1f} %" if each.HasField("top1_agreement") else "–",
        str(each.examples),
    )


def _points(points: float) -> str:
    return f"{abs(points):.1f} points"


def _side(points: float) -> str:
    return "behind" if points >= 0 else "ahead of"
