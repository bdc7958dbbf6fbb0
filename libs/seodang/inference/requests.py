"""Names of requests, and which of them run at this moment."""

import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from seodang.base.errors import AlreadyExists, InvalidInput

_REQUEST_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")


def request_id_of(given: str) -> str:
    """The caller's id, or a new one if the caller gave none. ``InvalidInput`` if it is unfit for logs and headers."""
    if not given:
        return uuid.uuid4().hex
    if not _REQUEST_ID.fullmatch(given):
        raise InvalidInput(
            f"request_id of {len(given)} characters: use 1 to 128 printable ASCII characters without spaces, such as "
            "a UUID",
            field="request_id",
        )
    return given


class RunningRequests:
    """The ids of the requests under way on one server."""

    def __init__(self) -> None:
        self._ids: set[str] = set()

    @contextmanager
    def claim(self, request_id: str) -> Iterator[None]:
        """Holds an id while its request runs; ``AlreadyExists`` if another request holds it."""
        if request_id in self._ids:
            raise AlreadyExists(
                f"request_id={request_id!r} is running already: wait for it, cancel it, or use another id",
                metadata={"request_id": request_id},
            )
        self._ids.add(request_id)
        try:
            yield
        finally:
            self._ids.discard(request_id)
