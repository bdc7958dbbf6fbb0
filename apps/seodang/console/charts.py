"""Charts: training curves, and measurements with their confidence intervals."""

from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import pandas as pd

from seodang.api.distill.v1 import job_pb2

STUDENT: Final = "student"
TEACHER: Final = "teacher"
_KNOWN: Final = {STUDENT: "#0B6E4F", TEACHER: "#3B5B92"}
_OTHERS: Final = ("#C98A1B", "#A8483C", "#6F5B8C", "#5E7D7E")


def curves(points: Sequence[job_pb2.CurvePoint]) -> Any:
    """Training loss a subject as a line, loss on held-out data as points on a thinner line."""
    rows = [
        {"step": point.step, "subject": point.subject, "data": kind, "loss": value}
        for point in points
        for kind, value in (("training", point.loss), ("held out", _optional(point, "eval_loss")))
        if value is not None
    ]
    frame = pd.DataFrame(rows, columns=["step", "subject", "data", "loss"])
    base = alt.Chart(frame).encode(
        x=alt.X("step:Q", title="step", axis=alt.Axis(tickMinStep=1, grid=False)),
        y=alt.Y("loss:Q", title="loss (nats)", scale=alt.Scale(zero=False)),
        color=_colour(frame["subject"].unique().tolist()),
        tooltip=["subject", "data", "step", alt.Tooltip("loss:Q", format=".4f")],
    )
    training = base.transform_filter(alt.datum.data == "training").mark_line(strokeWidth=2, opacity=0.85)
    held_out = base.transform_filter(alt.datum.data == "held out")
    dots = held_out.mark_point(filled=True, size=45)
    return (training + held_out.mark_line(strokeDash=[4, 3], strokeWidth=1.5) + dots).properties(height=320)


def measurements(measured: Sequence[job_pb2.Measurement]) -> Any:
    """Task scores as points with their 95 % intervals."""
    order = [measurement.subject for measurement in measured]
    frame = pd.DataFrame(
        {
            "subject": measurement.subject,
            "score": measurement.task_score,
            "low": measurement.task_score_low,
            "high": measurement.task_score_high,
        }
        for measurement in measured
    )
    metric = measured[0].metric if measured else "score"
    base = alt.Chart(frame).encode(y=alt.Y("subject:N", sort=order, title=None), color=_colour(order, legend=False))
    bars = base.mark_rule(strokeWidth=2.5).encode(
        x=alt.X("low:Q", title=metric, axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)), x2="high:Q"
    )
    tooltip = ["subject", *(alt.Tooltip(f"{name}:Q", format=".1%") for name in ("score", "low", "high"))]
    dots = base.mark_point(filled=True, size=110).encode(x="score:Q", tooltip=tooltip)
    return (bars + dots).properties(height=56 + 34 * len(order))


def _colour(subjects: Sequence[str], *, legend: bool = True) -> Any:
    others = iter(_OTHERS * (1 + len(subjects) // len(_OTHERS)))
    colours = [_KNOWN.get(subject) or next(others) for subject in subjects]
    shown = alt.Legend(orient="top", title=None) if legend else None
    return alt.Color("subject:N", scale=alt.Scale(domain=list(subjects), range=colours), legend=shown)


def _optional(point: job_pb2.CurvePoint, field: Any) -> float | None:
    return getattr(point, field) if point.HasField(field) else None
