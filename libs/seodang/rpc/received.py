"""Requests whose bytes are no message of their type: bad input like any other, and no fault of the server."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from seodang.base.errors import InvalidInput


@dataclass(frozen=True)
class Malformed:
    """Stands in for a request that could not be parsed, until the call can be refused."""

    reason: str


def tolerant(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """The same parser, except that bytes it cannot read become ``Malformed``."""

    def parse_or_note(body: bytes) -> Any:
        try:
            return parse(body)
        except DecodeError as error:
            return Malformed(str(error))

    return parse_or_note


def well_formed(request: Any, *, streaming: bool) -> Any:
    """The request, or the stream of requests, with ``InvalidInput`` in the place of anything malformed."""
    return _each(request) if streaming else _checked(request)


async def _each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _checked(request)


def _checked(request: Any) -> Any:
    if isinstance(request, Malformed):
        raise InvalidInput(
            f"the request cannot be read ({request.reason}): send a message of this method's type, with texts in UTF-8",
            reason="MALFORMED_MESSAGE",
        )
    return request
