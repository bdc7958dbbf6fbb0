"""Takes jobs from the queue, one lane for each that may run at a time, and brings each to its end."""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import Final

from seodang.base.errors import InternalFault, Retriable, SeodangError
from seodang.distill.database.unit_of_work import Database
from seodang.distill.jobs.domain import JobState
from seodang.distill.workers.run import JobRun, RunParts
from seodang.rpc import to_fault

log = logging.getLogger(__name__)

_LOOK_AGAIN_S: Final = 5.0
"""The queue is looked at this often even if nobody woke the lanes."""
_DATABASE_AWAY_S: Final = 2.0


class Supervisor:
    """The lanes. The queue itself is the database, so that it survives whatever happens here.

    ``run`` works until it is cancelled; jobs under way are then left as they are, and the next server goes on with
    them.
    """

    def __init__(self, database: Database, parts: RunParts, parallel_jobs: int) -> None:
        self._database = database
        self._parts = parts
        self._parallel_jobs = parallel_jobs
        self._adopted: deque[str] = deque()
        self._running: dict[str, JobRun] = {}
        self._bell = asyncio.Event()

    def wake(self) -> None:
        """There is a job in the queue."""
        self._bell.set()

    def stop(self, job_id: str) -> None:
        """The job is to be stopped, if a lane works on it; its state in the database says so too."""
        if run := self._running.get(job_id):
            run.stop()

    async def run(self) -> None:
        """Goes on with the jobs that an earlier server left running, and then with the queue, until cancelled."""
        async with self._database.read() as work:
            self._adopted.extend(await work.jobs.ids_in([JobState.RUNNING, JobState.CANCELLING]))
        async with asyncio.TaskGroup() as lanes:
            for _ in range(self._parallel_jobs):
                lanes.create_task(self._lane())

    async def _lane(self) -> None:
        while True:
            # Cleared before the look, so that a job which comes during the look is not slept over.
            self._bell.clear()
            try:
                job_id = self._adopted.popleft() if self._adopted else await self._claim()
                if job_id:
                    await self._attend(job_id)
                    continue
            except Retriable as error:
                log.warning("the queue cannot be read: %s", error.message)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), _LOOK_AGAIN_S)

    async def _claim(self) -> str | None:
        async with self._database.write() as work:
            job = await work.jobs.next_queued()
            if job:
                await work.jobs.save(job.claimed(self._parts.clock()))
                await work.commit()
        if job:
            self._parts.feed.announce(job.id)
        return job.id if job else None

    async def _attend(self, job_id: str) -> None:
        run = self._running[job_id] = JobRun(job_id, self._parts)
        try:
            while True:
                if await self._ended(run):
                    return
                await asyncio.sleep(_DATABASE_AWAY_S)
        finally:
            # A job that was resumed in between may be on another lane already.
            if self._running.get(job_id) is run:
                del self._running[job_id]

    async def _ended(self, run: JobRun) -> bool:
        """Whether the job is done with; not while the database is away."""
        try:
            try:
                await run.to_the_end()
            except Retriable:
                raise
            except SeodangError as error:
                await run.give_up(to_fault(error))
            except Exception as error:
                log.exception("%s met a fault of this server", run.name)
                fault = InternalFault(f"the server met a fault of its own with this job: {error!r}; its log says more")
                await run.give_up(to_fault(fault))
        except Retriable as error:
            log.warning("%s waits: %s", run.name, error.message)
            return False
        return True
