"""A generation as server-sent events: 200 once it is accepted, ``[DONE]`` at its end, an error event if it fails."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from seodang.base.errors import SeodangError
from seodang.gateway import failures

_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


class EventStream(StreamingResponse):
    """Sends ``chunks`` and closes ``lifetime``, which holds the call that they come from, whatever happens."""

    def __init__(self, chunks: AsyncIterator[dict[str, object]], lifetime: AsyncExitStack) -> None:
        super().__init__(_events(chunks), media_type="text/event-stream", headers=_HEADERS)
        self._lifetime = lifetime

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the answer."""
        async with self._lifetime:
            await super().__call__(scope, receive, send)


async def _events(chunks: AsyncIterator[dict[str, object]]) -> AsyncIterator[bytes]:
    try:
        async for chunk in chunks:
            yield _event(chunk)
    except SeodangError as error:
        # The status is sent already: OpenAI's clients raise when an event holds "error".
        yield _event(failures.body_of(error))
    else:
        yield b"data: [DONE]\n\n"


def _event(body: dict[str, object]) -> bytes:
    return f"data: {json.dumps(body, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
