"""What may be asked of jobs."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Collection
from contextlib import suppress
from typing import Final, Protocol

from seodang.api.distill.v1 import job_pb2
from seodang.base.errors import AlreadyExists, InvalidInput, Unavailable
from seodang.distill.clock import Clock, utc_now
from seodang.distill.database.unit_of_work import Database
from seodang.distill.jobs.checks import SpecChecks
from seodang.distill.jobs.domain import Job, JobState, new_job, parse_job_name
from seodang.distill.jobs.feed import JobFeed
from seodang.distill.pagination import Page, checked_size

_POINTS_A_READ: Final = 500
_LOOK_AGAIN_S: Final = 10.0
"""Bells ring within one process; changes that came from elsewhere are seen within this time."""


class Workers(Protocol):
    """Who does the work."""

    def wake(self) -> None:
        """There is a job in the queue."""

    def stop(self, job_id: str) -> None:
        """The job is to be stopped, if somebody works on it."""


class JobService:
    """Creates, shows, cancels and resumes jobs."""

    def __init__(
        self, database: Database, feed: JobFeed, checks: SpecChecks, workers: Workers, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._feed = feed
        self._checks = checks
        self._workers = workers
        self._clock = clock

    async def check(self, spec: job_pb2.JobSpec) -> None:
        """Everything that can be known before a job starts.

        Raises:
            InvalidInput: with the path of the field.
            Unavailable: a teacher does not answer.
        """
        await self._checks.run(spec)

    async def create(self, request_id: str, spec: job_pb2.JobSpec) -> Job:
        """Queues a job, or returns the one that the same request made before.

        Raises:
            AlreadyExists: that request made a job of another spec.
        """
        request_id = _checked_uuid(request_id)
        if present := await self._made_by(request_id, spec):
            return present
        await self.check(spec)
        job = new_job(request_id, spec, self._clock())
        try:
            async with self._database.write() as work:
                await work.jobs.add(job)
                await work.commit()
        except AlreadyExists:
            # The same request came twice at the same time, and the other one was first.
            present = await self._made_by(request_id, spec)
            if present is None:
                raise
            return present
        self._workers.wake()
        return job

    async def get(self, name: str) -> Job:
        """The job of that resource name."""
        async with self._database.read() as work:
            return await work.jobs.get(parse_job_name(name))

    async def page(self, states: Collection[JobState], page_size: int, page_token: str) -> Page[Job]:
        """Jobs in these states (empty: in any), newest first."""
        async with self._database.read() as work:
            return await work.jobs.page(states, checked_size(page_size), page_token)

    async def watch(self, name: str, skip_curve_points: int) -> AsyncGenerator[Job | job_pb2.CurvePoint, None]:
        """The job now, its curve after ``skip_curve_points`` points, each change, and last the job as it ended."""
        if skip_curve_points < 0:
            raise InvalidInput(f"skip_curve_points={skip_curve_points}: 0 or more", field="skip_curve_points")
        job_id, seen, revision = parse_job_name(name), skip_curve_points, 0
        with self._feed.follow(job_id) as bell:
            while True:
                bell.clear()
                async with self._database.read() as work:
                    job = await work.jobs.get(job_id)
                    points = await work.curves.after(job_id, seen, _POINTS_A_READ)
                if not revision or (job.revision != revision and not job.ended):
                    yield job
                revision, seen = job.revision, seen + len(points)
                for point in points:
                    yield point
                if len(points) == _POINTS_A_READ:
                    continue
                if job.ended:
                    yield job
                    return
                await self._wait(bell)

    async def cancel(self, name: str) -> Job:
        """Asks a job to stop.

        Raises:
            Conflict: it has succeeded or failed already.
        """
        async with self._database.write() as work:
            job = await work.jobs.get(parse_job_name(name), lock=True)
            after = job.asked_to_stop(self._clock())
            after = after if after is job else await work.jobs.save(after)
            await work.commit()
        self._workers.stop(after.id)
        self._feed.announce(after.id)
        return after

    async def resume(self, name: str) -> Job:
        """Queues a cancelled or failed job again.

        Raises:
            Conflict: it has succeeded, or is still being stopped.
        """
        async with self._database.write() as work:
            job = await work.jobs.get(parse_job_name(name), lock=True)
            after = job.resumed(self._clock())
            after = after if after is job else await work.jobs.save(after)
            await work.commit()
        self._workers.wake()
        self._feed.announce(after.id)
        return after

    async def _made_by(self, request_id: str, spec: job_pb2.JobSpec) -> Job | None:
        async with self._database.read() as work:
            job = await work.jobs.by_request(request_id)
        if job and job.spec != spec:
            raise AlreadyExists(
                f"request_id={request_id} made {job.name} of another spec: use a new UUID for a new job",
                metadata={"job": job.name},
            )
        return job

    async def _wait(self, bell: asyncio.Event) -> None:
        if self._feed.closed:
            raise Unavailable(
                "the server is stopping; the job goes on when it is back: watch it again, with skip_curve_points"
            )
        with suppress(TimeoutError):
            await asyncio.wait_for(bell.wait(), _LOOK_AGAIN_S)


def _checked_uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise InvalidInput(
            f"request_id={text[:80]!r} is not a UUID: make one for each new job, and send it again with the same call",
            field="request_id",
        ) from error
