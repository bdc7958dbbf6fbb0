"""Requests on their way to an external server: so many at once, the rest in order of priority."""

import heapq
import itertools
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from seodang.base.errors import AlreadyExists, Exhausted
from seodang.runtime.completion import Completion

RETRY_S: Final = 1.0


@dataclass(eq=False)
class Job:
    """A completion, and its stream once that has begun."""

    completion: Completion
    body: dict[str, Any]
    stream: "Future[None] | None" = field(default=None)


class WaitingRoom:
    """The server may be fed by others too: what is sent to it waits there in the order of its arrival."""

    def __init__(self, *, max_running: int, max_waiting: int) -> None:
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._jobs: dict[str, Job] = {}
        self._waiting: list[tuple[int, int, Job]] = []
        self._order = itertools.count()

    @property
    def running(self) -> int:
        """Requests at the server."""
        return len(self._jobs) - len(self._waiting)

    @property
    def waiting(self) -> int:
        """Requests that are not there yet."""
        return len(self._waiting)

    def check_new(self, request_id: str) -> None:
        """``AlreadyExists`` for an id under way; ``Exhausted``, with a time to try again, if there is no place."""
        if request_id in self._jobs:
            raise AlreadyExists(f"request {request_id} is under way; give every request an id of its own")
        if self.running >= self._max_running and self.waiting >= self._max_waiting:
            raise Exhausted(
                f"{self.waiting} requests are waiting, the limit; try again later or use another replica",
                retry_after_s=RETRY_S,
            )

    def add(self, job: Job) -> None:
        """Take a request in."""
        completion = job.completion
        self._jobs[completion.request_id] = job
        heapq.heappush(self._waiting, (-completion.priority, next(self._order), job))

    def ready(self) -> Iterator[Job]:
        """Those whose turn has come, the most important first."""
        while self._waiting and self.running < self._max_running:
            yield heapq.heappop(self._waiting)[2]

    def holds(self, job: Job) -> bool:
        """Whether a request has not left."""
        return self._jobs.get(job.completion.request_id) is job

    def leave(self, request_id: str) -> Job | None:
        """Take a request out, wherever it is, and end its stream."""
        job = self._jobs.pop(request_id, None)
        if job is None:
            return None
        if job.stream is not None:
            job.stream.cancel()
        self._waiting = [entry for entry in self._waiting if entry[2] is not job]
        heapq.heapify(self._waiting)
        return job

    def clear(self) -> list[Job]:
        """Take all of them out."""
        return [job for request_id in list(self._jobs) if (job := self.leave(request_id)) is not None]
