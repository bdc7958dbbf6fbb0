"""A client that goes away stops its work; a body that is too large is refused before it is read."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seodang.gateway import failures


class Presence:
    """Reads the body, then runs the app for as long as the client is there.

    Whatever the app does, streaming or not, is cancelled the moment the client leaves, and with it the call behind it.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, on_leave: Callable[[Scope], None]) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._on_leave = on_leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            body = await self._body(scope, receive)
        except failures.BodyTooLarge as error:
            await failures.answer(error)(scope, receive, send)
            return
        if body is not None:
            await self._answer(scope, receive, send, body)

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """The whole body, or None if the client left before it was sent."""
        announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        self._check_size(int(announced) if announced.isdigit() else 0)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            self._check_size(len(body))
            if not message.get("more_body", False):
                return bytes(body)

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_body_bytes:
            raise failures.BodyTooLarge(
                f"the body has {size_bytes} bytes or more; the gateway takes at most {self._max_body_bytes}: send less"
            )

    async def _answer(self, scope: Scope, receive: Receive, send: Send, body: bytes) -> None:
        parts = asyncio.Queue[Message]()
        parts.put_nowait({"type": "http.request", "body": body, "more_body": False})
        complete = False

        async def watched_send(message: Message) -> None:
            nonlocal complete
            await send(message)
            complete = complete or (message["type"] == "http.response.body" and not message.get("more_body", False))

        async def until_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        work = asyncio.ensure_future(self._app(scope, parts.get, watched_send))
        leaving = asyncio.create_task(until_gone())
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done() and not complete:
                self._on_leave(scope)
                work.cancel()
            await asyncio.wait({work})
        finally:
            leaving.cancel()
            work.cancel()
            await asyncio.gather(leaving, work, return_exceptions=True)
        if not work.cancelled():
            work.result()
