"""How far a reply may be sent ahead of its being played: what is not sent yet can still be taken back."""

import asyncio
import time


class Pacer:
    """Holds the pieces of a reply back until at most ``lead_ms`` of what was sent is unplayed.

    The speaker may tell how much was played; between two such reports, and without any, playing is taken to go on in
    real time.
    """

    def __init__(self, lead_ms: int) -> None:
        self._lead_ms = lead_ms
        self._played_ms = 0.0
        self._reported_at_s = 0.0
        self._reported = asyncio.Event()

    def begin(self) -> None:
        """A new reply begins."""
        self._note(0.0)

    def played(self, ms: int) -> None:
        """The speaker says how much of the reply was played."""
        self._note(float(ms))

    async def wait(self, at_ms: int) -> None:
        """Waits until the piece that begins ``at_ms`` after the reply's beginning may be sent."""
        while (early_ms := at_ms - self._lead_ms - self._estimate_ms()) > 0:
            self._reported.clear()
            try:
                await asyncio.wait_for(self._reported.wait(), early_ms / 1000)
            except TimeoutError:
                continue

    def _note(self, ms: float) -> None:
        self._played_ms, self._reported_at_s = ms, time.monotonic()
        self._reported.set()

    def _estimate_ms(self) -> float:
        return self._played_ms + 1000 * (time.monotonic() - self._reported_at_s)
