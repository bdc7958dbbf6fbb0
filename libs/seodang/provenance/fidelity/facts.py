"""``fidelity.json``: every fact of the report, as a machine reads it. null is what was not measured, never zero."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from seodang.base.errors import Conflict
from seodang.distillation.events import AnyEvent, CurvePoint
from seodang.distillation.result import Cost, Measurement
from seodang.distillation.spec import STUDENT, TEACHER, JobSpec, Recipe, Record
from seodang.provenance.files import FIDELITY
from seodang.provenance.record import Provenance

FORMAT: Final = "seodang-fidelity/1"
CURVE_DOTS: Final = 400
"""Of one line; a longer one is thinned, its last dot kept."""


class CurveDot(Record, frozen=True, kw_only=True):
    """A loss after some optimiser steps."""

    step: int
    loss: float


class Curve(Record, frozen=True, kw_only=True):
    """How one contestant learned."""

    subject: str
    training: tuple[CurveDot, ...]
    """The recipe's own loss; of different recipes they are not comparable."""
    development: tuple[CurveDot, ...]
    """Cross-entropy of answers that nobody trained on, in nats a position."""


class FidelityReport(Record, frozen=True, kw_only=True):
    """The whole report of one student."""

    format: Literal["seodang-fidelity/1"] = FORMAT
    student: str
    job: str
    student_sha256: str
    """Of the student that was measured, as in lineage.json."""
    recipes: dict[str, Recipe]
    """How each student and baseline was taught, by its subject."""
    measurements: tuple[Measurement, ...]
    """Teacher, student, then each baseline."""
    curves: tuple[Curve, ...]
    """Empty: the job's events are not there any more."""
    cost: Cost

    def of(self, subject: str) -> Measurement:
        """One contestant's measurement."""
        return next(each for each in self.measurements if each.subject == subject)

    @property
    def teacher(self) -> Measurement:
        """The teacher's own."""
        return self.of(TEACHER)

    @property
    def measured_student(self) -> Measurement:
        """The student's."""
        return self.of(STUDENT)


def fidelity_report(provenance: Provenance, spec: JobSpec, events: Iterable[AnyEvent]) -> FidelityReport:
    """The report of a student from what is signed of it and from the events of its job."""
    points = [event for event in events if isinstance(event, CurvePoint)]
    return FidelityReport(
        student=provenance.student,
        job=provenance.job,
        student_sha256=provenance.lineage.student_sha256,
        recipes=spec.subjects,
        measurements=provenance.measurements,
        curves=tuple(_curve(subject, points) for subject in dict.fromkeys(point.subject for point in points)),
        cost=provenance.cost,
    )


def read_report(folder: Path) -> FidelityReport:
    """Reads the fidelity.json of a student's folder.

    Raises:
        Conflict: it is none of this version.
    """
    path = folder / FIDELITY
    try:
        return msgspec.json.decode(path.read_bytes(), type=FidelityReport)
    except msgspec.DecodeError as error:
        raise Conflict(
            f"{path} is no fidelity report of this version ({error}): it was edited, or made by a newer one"
        ) from error


def _curve(subject: str, points: Sequence[CurvePoint]) -> Curve:
    own = [point for point in points if point.subject == subject]
    return Curve(
        subject=subject,
        training=_thinned([CurveDot(step=point.step, loss=point.loss) for point in own]),
        development=_thinned(
            [CurveDot(step=point.step, loss=point.eval_loss) for point in own if point.eval_loss is not None]
        ),
    )


def _thinned(dots: Sequence[CurveDot]) -> tuple[CurveDot, ...]:
    every = -(-len(dots) // CURVE_DOTS)
    return tuple(dot for n, dot in enumerate(dots) if n % every == 0 or n == len(dots) - 1)
