"""What messaging is about: a message that came in, the reply that goes out once, and where each of them stands."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_BODY_BYTES: Final = 2**20


class Platform(StrEnum):
    """A messenger."""

    SLACK = "slack"
    KAKAO = "kakao"


class Route(StrEnum):
    """How a reply reaches the messenger."""

    RESPONSE = "response"
    """As the body of the answer to the webhook, which is waiting for it."""
    POST = "post"
    """By a call of ours, such as chat.postMessage or a callback URL."""


class State(StrEnum):
    """Where a reply stands."""

    WAITING = "waiting"
    SENDING = "sending"
    """It is on its way: what became of it is not noted yet."""
    SENT = "sent"
    FAILED = "failed"
    UNCERTAIN = "uncertain"
    """It may or may not have arrived; it is not sent again by itself."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that a webhook brought.

    ``key`` tells deliveries of the same event; ``conversation`` is what a student is shown as history; ``lane`` is the
    channel in which replies keep their order and pace; ``address`` is what the messenger needs to deliver the reply;
    after ``answer_by_s`` (seconds since 1970) a reply is worth nothing.
    """

    platform: Platform
    key: str
    conversation: str
    lane: str
    text: str
    route: Route
    address: Mapping[str, str]
    answer_by_s: float

    @property
    def uid(self) -> str:
        """The id of the reply: the same event always has the same."""
        return hashlib.sha256(f"{self.platform}\0{self.key}".encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it was taken in."""

    id: int
    uid: str
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Unanswered:
    """A message that has no reply yet."""

    id: int
    uid: str
    conversation: str
    text: str
    route: Route
    answer_by_s: float
    attempts: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A reply that is to be sent."""

    id: int
    uid: str
    platform: Platform
    lane: str
    address: Mapping[str, str]
    text: str
    attempts: int
    due_s: float
    answer_by_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """An HTTP POST to a messenger."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an attempt to send; ``retry_after_s`` counts where the reply is still WAITING."""

    state: State
    error: str = ""
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it is listed. Its text is empty until the student wrote it."""

    id: int
    uid: str
    platform: Platform
    conversation: str
    text: str
    state: State
    attempts: int
    last_error: str


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What to answer a messenger with."""

    status: int
    body: bytes = b""
    content_type: str = ""
    duplicate: bool = False
    reply_uid: str = ""
    """Set when the reply goes out of its own."""
