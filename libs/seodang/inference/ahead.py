"""Several streams read one after another, while the next ones have already begun."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")


class _Begun(Generic[ItemT]):
    """A stream of which one item at most waits to be read."""

    def __init__(self, stream: AsyncGenerator[ItemT, None]) -> None:
        self._items: asyncio.Queue[ItemT | Exception | None] = asyncio.Queue(maxsize=1)
        self._task = asyncio.create_task(self._fill(stream))

    async def _fill(self, stream: AsyncGenerator[ItemT, None]) -> None:
        end: Exception | None = None
        try:
            async with aclosing(stream):
                async for item in stream:
                    await self._items.put(item)
        except Exception as error:  # noqa: BLE001 - raised again in ``read``
            end = error
        await self._items.put(end)

    async def read(self) -> AsyncGenerator[ItemT, None]:
        while (item := await self._items.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


async def one_after_another(streams: Iterable[AsyncGenerator[ItemT, None]], begun: int) -> AsyncGenerator[ItemT, None]:
    """The items of all streams in order; up to ``begun`` streams are under way at a time, the rest have not begun.

    The first error ends everything. ``streams`` is read lazily, so that what has not begun costs nothing.
    """
    coming = iter(streams)
    window: deque[_Begun[ItemT]] = deque()
    try:
        while True:
            while len(window) < begun and (stream := next(coming, None)) is not None:
                window.append(_Begun(stream))
            if not window:
                return
            async with aclosing(window[0].read()) as items:
                async for item in items:
                    yield item
            await window.popleft().stop()
    finally:
        for stream_begun in window:
            await stream_begun.stop()
