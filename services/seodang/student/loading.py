"""One load that any number of callers watch and wait for."""

import asyncio
from collections.abc import AsyncGenerator

from seodang.base.errors import SeodangError
from seodang.student.domain import LoadOrder, Progress, Resident


class Loading:
    """A load under way. It goes on when its callers leave."""

    def __init__(self, order: LoadOrder) -> None:
        self.order = order
        self.pin = order.pin
        """Some caller wants the model pinned."""
        self._progress = Progress("queued")
        self._resident: Resident | None = None
        self._error: SeodangError | None = None
        self._changed = asyncio.Event()

    def report(self, progress: Progress) -> None:
        """How far it is; a watcher who is slow sees the newest only."""
        self._progress = progress
        self._wake()

    def succeed(self, resident: Resident) -> None:
        """The model serves."""
        self._resident = resident
        self._wake()

    def fail(self, error: SeodangError) -> None:
        """It will not."""
        self._error = error
        self._wake()

    async def watch(self) -> AsyncGenerator[Progress, None]:
        """Each progress that is new to this caller, until the load has ended."""
        seen: Progress | None = None
        while True:
            changed = self._changed
            if self._progress is not seen:
                seen = self._progress
                yield seen
            elif self._ended:
                return
            else:
                await changed.wait()

    async def result(self) -> Resident:
        """The model, once it is there; raises what kept it from getting there."""
        while not self._ended:
            await self._changed.wait()
        if self._error is not None:
            raise self._error
        assert self._resident is not None
        return self._resident

    @property
    def _ended(self) -> bool:
        return self._resident is not None or self._error is not None

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
