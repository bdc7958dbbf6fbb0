"""What a job tells while it runs: typed JSON lines in ``events.jsonl``.

The file only ever grows. A line is written by one call and counts once its newline is there, so a reader that
remembers the offset after the last whole line never sees a line twice and never half of one.

After a restart the job goes on from its last durable step and does some steps again. The rule: a curve point is written
once. The writer reads the file when it opens it, drops the torn line that a power cut may have left at the end (no
reader has consumed it), and keeps silent about each (subject, step) that is there already. Nothing is lost by that,
because a repeated step is the same step: same batch, same loss. Measurements are written once a subject by the same
rule. State and progress are about now; the last one counts.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import msgspec

from seodang.base.errors import Conflict
from seodang.distillation.result import Measurement

Stage: TypeAlias = Literal["preparing", "scoring", "training", "evaluating", "gating"]
Unit: TypeAlias = Literal["positions", "steps", "examples"]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """Base of the lines; ``time_s`` is seconds since the epoch."""

    time_s: float = msgspec.field(default_factory=time.time)


class StateChanged(Event, frozen=True, kw_only=True, tag="state"):
    """A stage begins, or, with ``done``, the job is done."""

    stage: Stage
    message: str
    """For people."""
    done: bool = False


class Progressed(Event, frozen=True, kw_only=True, tag="progress"):
    """How far the stage is; about twice a second at most."""

    stage: Stage
    subject: str
    """"student" or the name of a baseline; when evaluating also "teacher"; empty where no contestant is meant."""
    done: int
    total: int
    unit: Unit
    rate: float
    """Units a second, lately."""
    remaining_s: float | None = None
    """Estimate for the whole job."""


class CurvePoint(Event, frozen=True, kw_only=True, tag="curve"):
    """A point of a training curve."""

    subject: str
    step: int
    """Optimiser steps done, from 1."""
    loss: float
    """The recipe's own loss, mean over the positions since the point before."""
    eval_loss: float | None = None
    """Cross-entropy of the development answers in nats a position; only at measuring steps."""
    learning_rate: float
    tokens_per_s: float


class Measured(Event, frozen=True, kw_only=True, tag="measurement"):
    """One contestant is measured."""

    measurement: Measurement


AnyEvent: TypeAlias = StateChanged | Progressed | CurvePoint | Measured
_decoder = msgspec.json.Decoder(AnyEvent)


def read_events(path: Path, offset: int = 0) -> tuple[list[AnyEvent], int]:
    """The whole lines from byte ``offset`` on, and the offset to go on from. No file yet is no lines yet.

    Raises:
        Conflict: a line is not an event, or the file is shorter than ``offset``: another program wrote to it.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < offset:
                raise Conflict(f"{path} is shorter than offset {offset}, but it only grows: it was replaced")
            file.seek(offset)
            text = file.read()
    except FileNotFoundError:
        return [], offset
    whole = text[: text.rfind(b"\n") + 1]
    try:
        return [_decoder.decode(line) for line in whole.splitlines()], offset + len(whole)
    except msgspec.DecodeError as error:
        raise Conflict(f"{path} holds a line after byte {offset} that is no event: {error}") from error


class EventLog:
    """The writer, one a job. Use it as a context manager.

    Args:
        path: events.jsonl.
        clock: seconds for the pace of progress lines.
        progress_interval_s: at most one progress line in this time, except for the last of a stage.
    """

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.monotonic, progress_interval_s: float = 0.5
    ) -> None:
        self._path = path
        self._clock = clock
        self._interval_s = progress_interval_s
        self._last_progress_s = float("-inf")
        self._curve_steps: dict[str, int] = {}
        self._measured: set[str] = set()
        self._descriptor = -1

    def __enter__(self) -> Self:
        past, whole_bytes = read_events(self._path)
        for event in past:
            self._remember(event)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._descriptor, whole_bytes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sync()
        os.close(self._descriptor)

    def write(self, event: AnyEvent) -> None:
        """Appends one line, unless it is there already or is progress too soon after the last."""
        if self._skips(event):
            return
        self._remember(event)
        line = msgspec.json.encode(event) + b"\n"
        written = os.write(self._descriptor, line)
        if written != len(line):
            raise OSError(f"{self._path}: only {written} of {len(line)} bytes were written; is the disk full?")

    def sync(self) -> None:
        """Makes every line so far survive a power cut; called before a checkpoint that follows them counts."""
        os.fsync(self._descriptor)

    def _skips(self, event: AnyEvent) -> bool:
        match event:
            case CurvePoint():
                return event.step <= self._curve_steps.get(event.subject, 0)
            case Measured():
                return event.measurement.subject in self._measured
            case Progressed():
                return event.done < event.total and self._clock() - self._last_progress_s < self._interval_s
            case _:
                return False

    def _remember(self, event: AnyEvent) -> None:
        match event:
            case CurvePoint():
                self._curve_steps[event.subject] = max(event.step, self._curve_steps.get(event.subject, 0))
            case Measured():
                self._measured.add(event.measurement.subject)
            case Progressed():
                self._last_progress_s = self._clock()
            case _:
                pass


class Unheard(EventLog):
    """A log of nothing, for a rank whose events another one writes already."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def write(self, event: AnyEvent) -> None:
        """Drops it."""

    def sync(self) -> None:
        """Has nothing to make durable."""
