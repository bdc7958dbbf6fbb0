"""Starts distillation jobs and follows them with a progress bar."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import json_format
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.base.errors import InvalidInput, SeodangError, Unavailable
from seodang.client import AsyncClient
from seodang.rpc import from_fault

WATCH_TIMEOUT_S = 24 * 3600.0
AWAY_LIMIT_S = 60.0
ASK_AGAIN_S = 1.0
ENDED = (job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED)


@dataclass
class FollowedJob:
    """A job as it was last seen, and its curve so far."""

    job: job_pb2.Job
    curve: list[job_pb2.CurvePoint] = field(default_factory=list)


def read_spec(path: Path) -> job_pb2.JobSpec:
    """A job's spec from a file in protobuf's JSON form.

    Raises:
        InvalidInput: the file is missing or is not such JSON.
    """
    try:
        fields = json.loads(path.read_bytes())
        if not isinstance(fields, dict):
            raise InvalidInput(f"{path} is not a job spec: it holds {fields!r:.40}, not an object with fields")
        return json_format.ParseDict(fields, job_pb2.JobSpec())
    except (OSError, ValueError, json_format.ParseError) as error:
        raise InvalidInput(f"{path} is not a job spec: {error}") from error


async def start(distill: AsyncClient, spec: job_pb2.JobSpec) -> job_pb2.Job:
    """Starts a job."""
    request = distill_pb2.CreateJobRequest(request_id=str(uuid.uuid4()), spec=spec)
    return (await distill.distillation.CreateJob(request)).job


async def follow(distill: AsyncClient, job: job_pb2.Job, console: Console) -> FollowedJob:
    """Follows a job to its end, with a bar a stage; a distill service that is restarted is asked again.

    Raises:
        Unavailable: the service has been away for ``AWAY_LIMIT_S``; the job goes on when it is back.
        SeodangError: the job failed, with what its fault says; or it was cancelled.
    """
    followed = FollowedJob(job)
    with _bars(console) as bars:
        view = _JobView(bars, job.spec.student)
        async for _ in _news(distill, followed):
            view.show(followed)
        if followed.job.state == job_pb2.JOB_STATE_SUCCEEDED:
            view.finish()
    if followed.job.state == job_pb2.JOB_STATE_FAILED:
        raise from_fault(followed.job.fault)
    if followed.job.state == job_pb2.JOB_STATE_CANCELLED:
        raise SeodangError(f"{job.name} was cancelled: resume it to go on")
    return followed


async def _news(distill: AsyncClient, followed: FollowedJob) -> AsyncIterator[None]:
    """Something new about the job, again and again until it has ended."""
    away_since_s: float | None = None
    while True:
        request = distill_pb2.WatchJobRequest(name=followed.job.name, skip_curve_points=len(followed.curve))
        try:
            async for event in distill.distillation.WatchJob(request, timeout=WATCH_TIMEOUT_S):
                if event.HasField("curve_point"):
                    followed.curve.append(event.curve_point)
                else:
                    followed.job = event.job
                away_since_s = None
                yield
        except Unavailable:
            now_s = time.monotonic()
            away_since_s = now_s if away_since_s is None else away_since_s
            if now_s - away_since_s > AWAY_LIMIT_S:
                raise
        if followed.job.state in ENDED:
            return
        await asyncio.sleep(ASK_AGAIN_S)


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=32),  # what gives way first where the console is narrow
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TextColumn("[dim]{task.fields[note]}"),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        console=console,
    )


class _JobView:
    """One bar for each stage of each subject, as they come."""

    def __init__(self, bars: Progress, title: str) -> None:
        self._bars = bars
        self._title = title
        self._tasks: dict[str, TaskID] = {}

    def show(self, followed: FollowedJob) -> None:
        progress = followed.job.progress
        if not progress.total:
            return
        stage = job_pb2.Progress.Stage.Name(progress.stage).removeprefix("STAGE_").lower()
        label = f"{self._title}: {stage} {progress.subject}".rstrip()
        if label not in self._tasks:
            self.finish()
            self._tasks[label] = self._bars.add_task(label, total=progress.total, note="", result="")
        result = _result(followed)
        left = f"about {progress.remaining_s:,.0f} s left" if progress.HasField("remaining_s") else ""
        note = " · ".join(part for part in (result, left) if part)
        self._bars.update(self._tasks[label], completed=progress.done, total=progress.total, note=note, result=result)

    def finish(self) -> None:
        """Fills the bars of the stages that are over: their last events may have been merged away."""
        for task in self._bars.tasks:
            self._bars.update(task.id, completed=task.total, note=task.fields["result"])
            self._bars.stop_task(task.id)


def _result(followed: FollowedJob) -> str:
    """What stays worth reading of a stage once it is over."""
    progress = followed.job.progress
    results = [f"{progress.rate:,.{0 if progress.rate >= 10 else 1}f} {progress.unit}/s"] if progress.rate else []
    if progress.stage == job_pb2.Progress.STAGE_TRAINING and followed.curve:
        results.append(f"loss {followed.curve[-1].loss:.3f}")
    return " · ".join(results)
