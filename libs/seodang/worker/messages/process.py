"""What any request may end with, and what a rank tells unasked."""

import msgspec

from seodang.worker.messages.record import Message


class Failed(Message, frozen=True, tag="failed"):
    """The one bad end of any request; ``seodang.worker.faults`` turns it into an error of the tree and back."""

    request_id: str
    kind: str
    """Class name in the error tree."""
    message: str
    reason: str
    metadata: dict[str, str] = msgspec.field(default_factory=dict)
    field: str = ""
    retry_after_s: float = 0.0


class Heartbeat(Message, frozen=True, tag="heartbeat"):
    """A rank is alive, and its main loop has turned ``steps`` times."""

    rank: int
    steps: int
    busy_s: float
    """Seconds since the main loop last came on; 0 while it waits for commands."""
    resident_bytes: int
    running: int = 0
    waiting: int = 0
    free_cache_tokens: int = 0
    lost: dict[str, str] = msgspec.field(default_factory=dict)
    """Models whose external server does not answer, each with the reason."""


class Shutdown(Message, frozen=True, tag="shutdown"):
    """Leave the main loop and exit."""
