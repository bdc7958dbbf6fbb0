"""Waiting for a teacher that restarts or is full, instead of losing a job to it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from seodang.base.errors import Retriable

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Patience:
    """How long a teacher may be away before the job gives up with the teacher's last error."""

    limit_s: float = 600.0
    """Without any success."""
    first_pause_s: float = 0.5
    longest_pause_s: float = 15.0

    def pauses(self) -> "Pauses":
        """A fresh account of one call's failures."""
        return Pauses(self)

    def call(self, attempt: Callable[[], ResultT]) -> ResultT:
        """The result of ``attempt``, tried until it succeeds.

        Raises:
            SeodangError: an error that trying again cannot help, or the last one when the limit is over.
        """
        pauses = self.pauses()
        while True:
            try:
                return attempt()
            except Retriable as error:
                pauses.after(error)


class Pauses:
    """The failures of one call since its last success."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self.succeeded()

    def succeeded(self) -> None:
        """Something arrived: count anew."""
        self._failing_since_s: float | None = None
        self._pause_s = self._patience.first_pause_s

    def after(self, error: Retriable) -> None:
        """Waits before the next attempt, at least as long as the server asked for.

        Raises:
            Retriable: ``error`` itself, if the limit is over.
        """
        now_s = time.monotonic()
        self._failing_since_s = now_s if self._failing_since_s is None else self._failing_since_s
        if now_s - self._failing_since_s >= self._patience.limit_s:
            raise error
        time.sleep(min(max(self._pause_s, error.retry_after_s), self._patience.longest_pause_s))
        self._pause_s = min(self._pause_s * 2, self._patience.longest_pause_s)
