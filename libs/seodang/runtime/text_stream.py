"""The text of a completion as it grows: whole characters only, and nothing that could still become a stop string."""

import codecs
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Release:
    """Text that has become certain, and the stop string that ended the completion, if one did."""

    text: str
    stop: str = ""


class TextStream:
    """Turns token ids into text, piece by piece. Bytes that are no UTF-8 become U+FFFD."""

    def __init__(
        self, piece_of: Callable[[int], bytes], stops: tuple[str, ...] = (), *, include_stop: bool = False
    ) -> None:
        self._piece_of = piece_of
        self._stops = stops
        self._include_stop = include_stop
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._held = ""

    def feed(self, token_id: int) -> Release:
        """Add a token."""
        return self._advance(self._decoder.decode(self._piece_of(token_id)))

    def finish(self) -> Release:
        """No token follows: everything held back is certain now."""
        release = self._advance(self._decoder.decode(b"", final=True))
        rest, self._held = self._held, ""
        return release if release.stop else Release(release.text + rest)

    def _advance(self, new: str) -> Release:
        text = self._held + new
        found = [(text.find(stop), stop) for stop in self._stops]
        begin, stop = min(((at, stop) for at, stop in found if at >= 0), default=(-1, ""))
        if stop:
            self._held = ""
            return Release(text[: begin + len(stop) if self._include_stop else begin], stop)
        hold = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - hold :]
        return Release(text[: len(text) - hold])


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
