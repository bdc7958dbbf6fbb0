"""A job's contact with its cluster, which may be away for a while: what goes wrong is told, and asked again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from seodang.base.errors import SeodangError

Answer = TypeVar("Answer")


class Contact:
    """One job's.

    Args:
        tell: shows a sentence as the job's state.
        pause_max_s: longest pause before the cluster is asked again; the first is a second, and it doubles.
    """

    def __init__(self, tell: Callable[[str], Awaitable[None]], pause_max_s: float) -> None:
        self._tell = tell
        self._pause_max_s = pause_max_s
        self._told = ""
        self._failures = 0

    async def persistently(self, call: Callable[[], Awaitable[Answer]], despite: type[SeodangError]) -> Answer:
        """Asks until the answer is not such an error."""
        while True:
            try:
                answer = await call()
            except despite as error:
                await self.failed(error)
            else:
                await self.answered()
                return answer

    async def failed(self, error: SeodangError) -> None:
        """Tells what went wrong, and returns when it is time to ask again."""
        self._failures += 1
        pause_s = min(2.0 ** (self._failures - 1), self._pause_max_s)
        await self.tell(f"{error.message}. The cluster is asked again in {pause_s:g} s; what runs there runs on")
        await asyncio.sleep(pause_s)

    async def answered(self) -> None:
        """Takes back what was told of failures."""
        if self._failures:
            self._failures = 0
            await self.tell("the cluster answers again")

    async def tell(self, message: str) -> None:
        """Shows what is new."""
        if message != self._told:
            self._told = message
            await self._tell(message)
