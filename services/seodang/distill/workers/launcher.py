"""The seam between a job's run and whatever starts its workers: processes of this machine, or a cluster."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from seodang.api.types.v1 import fault_pb2
from seodang.base.errors import Unavailable
from seodang.distill.workers.intake import EventIntake
from seodang.distillation import FaultRecord, JobFolder
from seodang.rpc import to_fault


@dataclass(frozen=True)
class Mishap:
    """Why a worker ended without a result, and whether another one may do better."""

    fault: fault_pb2.Fault
    retriable: bool


@dataclass(frozen=True)
class Errand:
    """A job that is to be brought further by one worker."""

    job_id: str
    folder: JobFolder
    intake: EventIntake
    stop: asyncio.Event
    """Set once somebody has cancelled the job."""
    begin: Callable[[], Awaitable[None]]
    """Writes what the worker reads and counts it; awaited before a worker is started, not when one is found at work."""
    tell: Callable[[str], Awaitable[None]]
    """Shows a sentence as the job's state."""


class Launcher(Protocol):
    """Who starts workers."""

    async def work_on(self, errand: Errand) -> Mishap | None:
        """Has a worker do the job, and takes its events in; None if it was stopped or left a result.

        Once this has returned for a job that is to stop, nothing works on it any more.

        Raises:
            SeodangError: no worker can be started, and trying again will not change that.
            Unavailable: the database is away.
        """


async def follow(end: asyncio.Future[Any], errand: Errand, poll_interval_s: float) -> None:
    """Takes a worker's events in while it works: until ``end`` is done, or the job is to stop."""
    stopped = asyncio.ensure_future(errand.stop.wait())
    try:
        done: set[asyncio.Future[Any]] = set()
        while not done:
            done, _ = await asyncio.wait({end, stopped}, timeout=poll_interval_s, return_when=asyncio.FIRST_COMPLETED)
            # While the database is away the worker goes on; its lines wait in the file.
            with suppress(Unavailable):
                await errand.intake.take_in()
    finally:
        stopped.cancel()


def mishap_of(record: FaultRecord) -> Mishap:
    """What a worker said before it gave up."""
    return Mishap(to_fault(record.error()), record.retriable or record.reason == "JOB_RUNNING")
