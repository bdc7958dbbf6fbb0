"""One job on its way to its end, over as many processes as that takes."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import msgspec

from seodang.api.distill.v1 import job_pb2
from seodang.api.types.v1 import fault_pb2
from seodang.distill.clock import Clock
from seodang.distill.database.unit_of_work import Database
from seodang.distill.jobs.domain import Job, JobState
from seodang.distill.jobs.feed import JobFeed
from seodang.distill.workers.intake import EventIntake
from seodang.distill.workers.launcher import Errand, Launcher, Mishap
from seodang.distill.workers.publication import Publisher
from seodang.distillation import JobFolder, JobSpec, decode_spec, encode_spec
from seodang.distillation.folder import write_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """How often a job whose process failed is tried again."""

    attempts_in_a_row: int = 5
    """Processes that may fail one after the other without the job coming any further."""
    backoff_s: float = 1.0
    """First pause; it doubles with each failure in a row."""
    backoff_max_s: float = 60.0

    def pause_s(self, failures: int) -> float:
        """How long to wait after so many failures in a row."""
        return min(self.backoff_s * 2.0 ** (failures - 1), self.backoff_max_s)


@dataclass(frozen=True)
class RunParts:
    """What every run needs."""

    database: Database
    feed: JobFeed
    publisher: Publisher
    jobs_dir: Path
    """Each job's folder is below, named by the job's id."""
    launcher: Launcher
    resolve: Callable[[job_pb2.JobSpec], JobSpec]
    retry: RetryPolicy
    clock: Clock


class JobRun:
    """Brings one job to its end. What it knows is in the database and the folder, so any later one can take over."""

    def __init__(self, job_id: str, parts: RunParts) -> None:
        self.name = f"jobs/{job_id}"
        self._job_id = job_id
        self._parts = parts
        self._folder = JobFolder((parts.jobs_dir / job_id).absolute())
        self._intake = EventIntake(job_id, self._folder, parts.database, parts.feed, parts.clock)
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Somebody cancelled the job: its worker is ended."""
        self._stop.set()

    async def to_the_end(self) -> None:
        """Returns when the job has ended.

        Raises:
            Unavailable: the database is away; nothing is lost, begin again.
        """
        await self._intake.take_in()
        failures = 0
        while not self._folder.result.exists():
            mishap = await self._work()
            if self._folder.result.exists():
                break
            if mishap is None:
                await self._change(lambda job, now: job.stopped(now))
                return
            failures = 1 if self._intake.advanced() else failures + 1
            if not mishap.retriable or failures >= self._parts.retry.attempts_in_a_row:
                await self.give_up(mishap.fault)
                return
            await self._pause(mishap, self._parts.retry.pause_s(failures))
        await self._publish()

    async def give_up(self, fault: fault_pb2.Fault) -> None:
        """Ends the job: it failed, or, if somebody wanted it to stop anyway, it is cancelled."""
        log.error("%s failed: %s", self.name, fault.message)
        await self._change(
            lambda job, now: job.stopped(now) if job.state is JobState.CANCELLING else job.failed(fault, now)
        )

    async def _work(self) -> Mishap | None:
        async with self._parts.database.read() as work:
            job = await work.jobs.get(self._job_id)
        if job.state is JobState.CANCELLING:
            self._stop.set()
        return await self._parts.launcher.work_on(
            Errand(self._job_id, self._folder, self._intake, self._stop, self._begin, self._tell)
        )

    async def _begin(self) -> None:
        job = await self._change(lambda job, now: job if job.state is JobState.CANCELLING else job.started(now))
        await asyncio.to_thread(self._write_spec, job.spec)

    async def _tell(self, message: str) -> None:
        log.info("%s: %s", self.name, message)
        await self._change(lambda job, now: job.reported(job.events_offset, None, message, now))

    def _write_spec(self, asked: job_pb2.JobSpec) -> None:
        """What the worker reads. It is resolved once; only the server's own teacher may listen elsewhere by now."""
        spec = self._parts.resolve(asked)
        if self._folder.spec.exists():
            kept = decode_spec(self._folder.spec.read_bytes())
            moved = zip(kept.teachers, spec.teachers, strict=True)
            teachers = tuple(msgspec.structs.replace(old, address=new.address) for old, new in moved)
            spec = msgspec.structs.replace(kept, teachers=teachers)
        write_whole(self._folder.spec, encode_spec(spec))

    async def _pause(self, mishap: Mishap, pause_s: float) -> None:
        message = f"{mishap.fault.message} Another worker starts in {pause_s:g} s."
        log.warning("%s: %s", self.name, message)
        await self._change(lambda job, now: job if job.state is JobState.CANCELLING else job.waiting(message, now))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), pause_s)

    async def _publish(self) -> None:
        publishing = job_pb2.Progress(stage=job_pb2.Progress.STAGE_PUBLISHING)
        await self._change(
            lambda job, now: job.reported(job.events_offset, publishing, "copying the student to the registry", now)
        )
        await self._parts.publisher.publish(self._job_id, self._folder)
        self._parts.feed.announce(self._job_id)

    async def _change(self, change: Callable[[Job, datetime], Job]) -> Job:
        async with self._parts.database.write() as work:
            before = await work.jobs.get(self._job_id, lock=True)
            after = change(before, self._parts.clock())
            if after is not before:
                after = await work.jobs.save(after)
                await work.commit()
        self._parts.feed.announce(self._job_id)
        return after
