"""What a job that was followed leaves on the console."""

import asyncio
import io
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.base.errors import Unavailable
from seodang.cli import jobs
from seodang.cli.jobs import follow


class MergedWatch:
    """A watch in which the last event of each stage was merged with the first of the next, as a slow reader's is."""

    async def WatchJob(
        self, request: distill_pb2.WatchJobRequest, timeout: float
    ) -> AsyncIterator[distill_pb2.WatchJobResponse]:
        job = job_pb2.Job(name=request.name, spec=job_pb2.JobSpec(student="math"))
        for stage, total, rate in (
            (job_pb2.Progress.STAGE_SCORING, 77514, 2843.4),
            (job_pb2.Progress.STAGE_TRAINING, 240, 1.44),
        ):
            job.progress.CopyFrom(
                job_pb2.Progress(stage=stage, done=total - 3, total=total, rate=rate, unit="units", remaining_s=9)
            )
            yield distill_pb2.WatchJobResponse(curve_point=job_pb2.CurvePoint(loss=0.0604))
            yield distill_pb2.WatchJobResponse(job=job)
        job.state = job_pb2.JOB_STATE_SUCCEEDED
        yield distill_pb2.WatchJobResponse(job=job)


class RestartedWatch:
    """A watch that breaks in the middle, is refused once, and then goes on where it was told to."""

    def __init__(self) -> None:
        self.skipped: list[int] = []

    async def WatchJob(
        self, request: distill_pb2.WatchJobRequest, timeout: float
    ) -> AsyncIterator[distill_pb2.WatchJobResponse]:
        self.skipped.append(request.skip_curve_points)
        job = job_pb2.Job(name=request.name, state=job_pb2.JOB_STATE_RUNNING)
        if len(self.skipped) == 2:
            raise Unavailable("connection refused")
        for step in range(request.skip_curve_points, 4):
            yield distill_pb2.WatchJobResponse(curve_point=job_pb2.CurvePoint(step=step))
            if len(self.skipped) == 1 and step == 1:
                await asyncio.sleep(2 * jobs.AWAY_LIMIT_S)  # a job may be silent for longer than a service may be away
                raise Unavailable("the server is going down")
        job.state = job_pb2.JOB_STATE_SUCCEEDED
        yield distill_pb2.WatchJobResponse(job=job)


def watched_by(watch: object) -> Any:
    return SimpleNamespace(distillation=watch)


async def test_a_service_that_is_restarted_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ASK_AGAIN_S", 0.01)
    monkeypatch.setattr(jobs, "AWAY_LIMIT_S", 0.5)
    watch = RestartedWatch()
    followed = await follow(watched_by(watch), job_pb2.Job(name="jobs/math"), Console(file=io.StringIO()))
    assert watch.skipped == [0, 2, 2]
    assert [point.step for point in followed.curve] == [0, 1, 2, 3]
    assert followed.job.state == job_pb2.JOB_STATE_SUCCEEDED


async def test_a_service_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "ASK_AGAIN_S", 0.01)
    monkeypatch.setattr(jobs, "AWAY_LIMIT_S", 0.1)

    async def refuse(request: object, timeout: float) -> AsyncIterator[distill_pb2.WatchJobResponse]:
        raise Unavailable("connection refused")
        yield distill_pb2.WatchJobResponse()

    with pytest.raises(Unavailable, match="connection refused"):
        await follow(watched_by(SimpleNamespace(WatchJob=refuse)), job_pb2.Job(name="jobs/math"), Console(quiet=True))


@pytest.mark.parametrize("width", [80, 100, 120])
async def test_every_stage_of_a_job_that_succeeded_is_shown_whole(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    distill = watched_by(MergedWatch())
    job = job_pb2.Job(name="jobs/math", spec=job_pb2.JobSpec(student="math"))
    followed = await follow(distill, job, console)
    assert isinstance(console.file, io.StringIO)
    scoring, training = console.file.getvalue().splitlines()
    assert "math: scoring" in scoring
    assert "77514/77514" in scoring
    assert "2,843 units/s" in scoring
    assert "math: training" in training
    assert "240/240" in training
    assert "1.4 units/s · loss 0.060" in training
    assert "left" not in scoring + training
    assert "…" not in scoring + training
    assert followed.job.state == job_pb2.JOB_STATE_SUCCEEDED
