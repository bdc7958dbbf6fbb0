"""What a job says while it works: stages, progress with a rate, curve points, measurements."""

import time
from collections import deque
from dataclasses import dataclass
from threading import Lock
from typing import Final

from seodang.distillation.events import CurvePoint, EventLog, Measured, Progressed, Stage, StateChanged, Unit
from seodang.distillation.result import Measurement

RATE_WINDOW_S: Final = 10.0


class Report:
    """Writes a job's events."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._stage: Stage = "preparing"

    def stage(self, stage: Stage, message: str) -> None:
        """A stage begins."""
        self._stage = stage
        self._log.write(StateChanged(stage=stage, message=message))

    def done(self, message: str) -> None:
        """The job is done."""
        self._log.write(StateChanged(stage=self._stage, message=message, done=True))

    def progress(self, subject: str, total: int, unit: Unit, *, done: int = 0, later: int | None = None) -> "Progress":
        """Begins to count within the stage.

        Args:
            done: what an earlier process did.
            later: units that other subjects still have before them; None where what comes then is another kind of work,
                so that nothing can be said about the whole job's end.
        """
        return Progress(self._log, Counted(self._stage, subject, total, unit, later), done)

    def point(self, point: CurvePoint) -> None:
        """A point of a curve."""
        self._log.write(point)

    def measured(self, measurement: Measurement) -> None:
        """A contestant is measured."""
        self._log.write(Measured(measurement=measurement))

    def sync(self) -> None:
        """Makes everything said so far durable."""
        self._log.sync()


@dataclass(frozen=True)
class Counted:
    """What is counted; see ``Report.progress``."""

    stage: Stage
    subject: str
    total: int
    unit: Unit
    later: int | None


class Progress:
    """Counts units of one piece of work and tells how far it is. Several threads may add."""

    def __init__(self, log: EventLog, counted: Counted, done: int) -> None:
        self._log = log
        self._counted = counted
        self._done = done
        self._window: deque[tuple[float, int]] = deque([(time.monotonic(), done)])
        self._adding = Lock()

    def add(self, units: int) -> None:
        """So many more are done."""
        with self._adding:
            self._add(units)

    def _add(self, units: int) -> None:
        self._done += units
        now_s = time.monotonic()
        self._window.append((now_s, self._done))
        while len(self._window) > 2 and now_s - self._window[1][0] > RATE_WINDOW_S:
            self._window.popleft()
        first_s, first = self._window[0]
        rate = (self._done - first) / max(now_s - first_s, 1e-3)
        counted = self._counted
        known = counted.later is not None and rate > 0
        self._log.write(
            Progressed(
                stage=counted.stage,
                subject=counted.subject,
                done=self._done,
                total=counted.total,
                unit=counted.unit,
                rate=rate,
                remaining_s=(counted.total - self._done + (counted.later or 0)) / rate if known else None,
            )
        )
