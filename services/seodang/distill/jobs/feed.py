"""Tells those who watch a job that it has changed. What has changed they read from the database, as fast as they can,
so a slow reader costs no memory and sees fewer, later states."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class JobFeed:
    """Bells of one process, a set for each watched job."""

    def __init__(self) -> None:
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.closed = False

    def announce(self, job_id: str) -> None:
        """Rings the bell of everyone who follows the job."""
        for bell in self._bells.get(job_id, ()):
            bell.set()

    def close(self) -> None:
        """Rings every bell: the server is stopping."""
        self.closed = True
        for bells in self._bells.values():
            for bell in bells:
                bell.set()

    @contextmanager
    def follow(self, job_id: str) -> Iterator[asyncio.Event]:
        """A bell that rings with each change of the job; clear it before looking."""
        bell = asyncio.Event()
        self._bells[job_id].add(bell)
        try:
            yield bell
        finally:
            self._bells[job_id].discard(bell)
            if not self._bells[job_id]:
                del self._bells[job_id]
