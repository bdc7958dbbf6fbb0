"""Between an engine that writes at its own pace and a caller who reads at theirs: bounded memory, nothing reordered."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeAlias

import msgspec

from seodang.base.errors import Exhausted
from seodang.worker.messages import Accepted, Finished, TokenDelta

Event: TypeAlias = Accepted | TokenDelta | Finished


class _Mailbox:
    """What the caller has not taken yet: at most one merged delta, and how the stream ended."""

    def __init__(self, limit_tokens: int) -> None:
        self._limit_tokens = limit_tokens
        self._waiting: list[Event] = []
        self._end: Exception | None = None
        self._ended = False
        self._changed = asyncio.Event()

    async def fill(self, events: AsyncGenerator[Event, None]) -> None:
        """Takes every event; its own failure is passed on to the reader."""
        try:
            async with aclosing(events):
                async for event in events:
                    self._put(event)
        except Exception as error:  # noqa: BLE001 - raised again in ``take``
            self._end = error
        self._ended = True
        self._changed.set()

    async def take(self) -> Event | None:
        """The next event, or None after the last one; raises what ended the stream badly."""
        while not self._waiting:
            if self._end is not None:
                raise self._end
            if self._ended:
                return None
            self._changed.clear()
            await self._changed.wait()
        return self._waiting.pop(0)

    def _put(self, event: Event) -> None:
        last = self._waiting[-1] if self._waiting else None
        if isinstance(event, TokenDelta) and isinstance(last, TokenDelta):
            self._waiting[-1] = event = _joined(last, event)
        else:
            self._waiting.append(event)
        self._changed.set()
        if isinstance(event, TokenDelta) and len(event.token_ids) > self._limit_tokens:
            raise Exhausted(
                f"{len(event.token_ids)} tokens wait to be read, the limit is {self._limit_tokens}: "
                "the generation was ended so that it holds up nobody else; read faster or ask for less",
                reason="SLOW_READER",
            )


async def at_readers_pace(events: AsyncGenerator[Event, None], limit_tokens: int) -> AsyncGenerator[Event, None]:
    """The events, with deltas that wait to be read joined into one.

    Raises:
        Exhausted: more than ``limit_tokens`` tokens wait to be read.
    """
    mailbox = _Mailbox(limit_tokens)
    filling = asyncio.create_task(mailbox.fill(events))
    try:
        while (event := await mailbox.take()) is not None:
            yield event
    finally:
        filling.cancel()
        await asyncio.wait([filling])


def _joined(first: TokenDelta, second: TokenDelta) -> TokenDelta:
    return msgspec.structs.replace(
        second,
        token_ids=first.token_ids + second.token_ids,
        text=first.text + second.text,
        logprobs=first.logprobs + second.logprobs,
    )
