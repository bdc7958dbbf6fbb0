"""Requests under way: what has come for each, and how each ends."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from seodang.base.errors import AlreadyExists, SeodangError
from seodang.worker.faults import from_failed, to_failed
from seodang.worker.messages import (
    Accepted,
    Cancel,
    Decode,
    Embed,
    Event,
    Failed,
    FetchHead,
    Generate,
    HeadChunk,
    Heartbeat,
    Load,
    LoadProgress,
    Render,
    Score,
    ScoreChunk,
    TokenDelta,
    Unload,
)
from seodang.worker.ranks import RankGroup

Request = Generate | Score | FetchHead | Embed | Render | Decode | Load | Unload


class Inbox:
    """Events of one request, in order."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.ended = False

    def put(self, event: Event) -> None:
        """Add an event."""
        self.ended = self.ended or _is_last(event)
        self._events.put_nowait(event)

    @property
    def pending(self) -> bool:
        """Whether an event has come that nobody has taken."""
        return not self._events.empty()

    async def next(self) -> Event:
        """The next event; raises the error that the request has failed with."""
        event = await self._events.get()
        if isinstance(event, Failed):
            raise from_failed(event)
        return event


class Requests:
    """All requests of one host, by id."""

    def __init__(self) -> None:
        self._inboxes: dict[str, Inbox] = {}

    def __len__(self) -> int:
        return len(self._inboxes)

    @contextmanager
    def open(self, group: RankGroup, request: Request) -> Iterator[Inbox]:
        """Send a request and hand out its inbox; leaving before its end cancels it."""
        request_id = request.request_id
        if request_id in self._inboxes:
            raise AlreadyExists(f"request {request_id} is under way; give every request an id of its own")
        inbox = self._inboxes[request_id] = Inbox()
        group.send(request)
        try:
            yield inbox
        finally:
            del self._inboxes[request_id]
            if not inbox.ended:
                group.send(Cancel(request_id=request_id))

    def deliver(self, event: Event) -> None:
        """Put an event where it belongs; a cancelled request's last events belong nowhere."""
        inbox = None if isinstance(event, Heartbeat) else self._inboxes.get(event.request_id)
        if inbox is not None:
            inbox.put(event)

    def fail_all(self, error: SeodangError) -> None:
        """End every request that has not ended."""
        for request_id, inbox in self._inboxes.items():
            if not inbox.ended:
                inbox.put(to_failed(request_id, error))


def _is_last(event: Event) -> bool:
    if isinstance(event, ScoreChunk | HeadChunk):
        return event.last
    return not isinstance(event, Accepted | TokenDelta | LoadProgress)
