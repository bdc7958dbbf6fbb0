"""A job and the only ways in which its state may change.

``spec``, ``progress``, ``result`` and ``fault`` are messages of the contract, carried along and never changed in place.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from seodang.api.distill.v1 import job_pb2
from seodang.api.types.v1 import fault_pb2
from seodang.base.errors import Conflict, InvalidInput

_NAME = re.compile(r"jobs/([A-Za-z0-9][A-Za-z0-9-]{0,94})")
_ID_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED})
"""A job in one of these has no process, and only ResumeJob changes it again."""

TRANSITIONS: Final[Mapping[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.RUNNING, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.RUNNING, JobState.CANCELLING, JobState.SUCCEEDED, JobState.FAILED}),
    # It may have been done before it heard that it should stop.
    JobState.CANCELLING: frozenset({JobState.CANCELLED, JobState.SUCCEEDED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({JobState.QUEUED}),
    JobState.CANCELLED: frozenset({JobState.QUEUED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A distillation. Each method returns the job as it is after the change, or raises Conflict."""

    id: str
    request_id: str
    spec: job_pb2.JobSpec
    create_time: datetime
    update_time: datetime
    state: JobState = JobState.QUEUED
    state_message: str = "waiting for a free worker"
    end_time: datetime | None = None
    progress: job_pb2.Progress | None = None
    result: job_pb2.JobResult | None = None
    fault: fault_pb2.Fault | None = None
    attempts: int = 0
    """Processes started for it."""
    revision: int = 1
    """Grows by one each time the job is saved."""
    events_offset: int = 0
    """Bytes of the worker's events that are in the database."""

    @property
    def name(self) -> str:
        """``jobs/{id}``."""
        return f"jobs/{self.id}"

    @property
    def ended(self) -> bool:
        """Whether nothing more will come by itself."""
        return self.state in ENDED

    def claimed(self, now: datetime) -> "Job":
        """Its turn has come."""
        return self._to(JobState.RUNNING, "a worker is being started", now)

    def started(self, now: datetime) -> "Job":
        """A process is about to work on it, for the first time or again."""
        attempts = self.attempts + 1
        message = "a worker has begun" if attempts == 1 else f"worker {attempts} goes on from the last durable step"
        return self._to(JobState.RUNNING, message, now, attempts=attempts)

    def waiting(self, message: str, now: datetime) -> "Job":
        """Its process is gone and another will be started; ``message`` says why and when."""
        return self._to(JobState.RUNNING, message, now)

    def reported(self, offset: int, progress: job_pb2.Progress | None, message: str, now: datetime) -> "Job":
        """Its process told something: the events up to ``offset`` are taken in."""
        return replace(
            self,
            events_offset=offset,
            progress=progress or self.progress,
            state_message=message or self.state_message,
            update_time=now,
        )

    def succeeded(self, result: job_pb2.JobResult, message: str, now: datetime) -> "Job":
        """Its student is measured and in the registry."""
        return self._to(JobState.SUCCEEDED, message, now, end_time=now, result=result, fault=None)

    def failed(self, fault: fault_pb2.Fault, now: datetime) -> "Job":
        """It cannot go on without a change."""
        return self._to(JobState.FAILED, fault.message, now, end_time=now, fault=fault)

    def asked_to_stop(self, now: datetime) -> "Job":
        """Somebody cancelled it. A job that no process works on is cancelled at once; asking again changes nothing."""
        if self.state in (JobState.CANCELLING, JobState.CANCELLED):
            return self
        if self.state is JobState.QUEUED:
            return self.stopped(now)
        return self._to(JobState.CANCELLING, "its worker is being stopped", now)

    def stopped(self, now: datetime) -> "Job":
        """No process works on it any more, because somebody cancelled it."""
        message = "cancelled; what it made so far stays, ResumeJob goes on from there"
        return self._to(JobState.CANCELLED, message, now, end_time=now)

    def resumed(self, now: datetime) -> "Job":
        """Somebody wants it to go on; for a job that waits or runs already this changes nothing."""
        if self.state in (JobState.QUEUED, JobState.RUNNING):
            return self
        message = "waiting for a free worker, to go on from the last durable step"
        return self._to(JobState.QUEUED, message, now, end_time=None, fault=None)

    def _to(self, state: JobState, message: str, now: datetime, **changes: Any) -> "Job":
        if state not in TRANSITIONS[self.state]:
            allowed = ", ".join(sorted(TRANSITIONS[self.state])) or "nothing else"
            raise Conflict(
                f"{self.name} is {self.state} and cannot become {state}: only {allowed}",
                reason="JOB_STATE",
                metadata={"job": self.name, "state": self.state.value},
            )
        return replace(self, state=state, state_message=message, update_time=now, **changes)


def new_job(request_id: str, spec: job_pb2.JobSpec, now: datetime) -> Job:
    """A job that waits for its turn. Its id begins with the student's name, so that people can tell jobs apart."""
    suffix = "".join(secrets.choice(_ID_LETTERS) for _ in range(10))
    return Job(
        id=f"{spec.student}-{suffix}".lower(), request_id=request_id, spec=spec, create_time=now, update_time=now
    )


def parse_job_name(text: str) -> str:
    """The id in ``jobs/{id}``."""
    found = _NAME.fullmatch(text)
    if not found:
        raise InvalidInput(f"name={text[:120]!r} is not jobs/{{job}}", field="name")
    return found[1]
