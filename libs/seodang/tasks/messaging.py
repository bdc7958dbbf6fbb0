"""Messaging: a short message gets a short reply, in Korean."""

from collections import Counter
from dataclasses import dataclass

from seodang.tasks.message import Message, Role
from seodang.tasks.parsing import InvalidAnswer

SYSTEM_PROMPT = "chat: ko"
MAX_REPLY_CHARACTERS = 400


@dataclass(frozen=True, slots=True)
class MessagingRequest:
    """What the person wrote, and the turns before it, oldest first (may be empty)."""

    text: str
    history: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back to the person."""

    text: str


def messages(request: MessagingRequest) -> list[Message]:
    """The prompt of one request."""
    return [Message(Role.SYSTEM, SYSTEM_PROMPT), *request.history, Message(Role.USER, request.text)]


def render(reply: Reply) -> str:
    """The reply as the model writes it."""
    return reply.text


def parse(text: str) -> Reply:
    """Read a model's text.

    Raises:
        InvalidAnswer: empty, longer than ``MAX_REPLY_CHARACTERS``, or not valid text (a broken byte sequence).
    """
    stripped = text.strip()
    if not stripped:
        raise InvalidAnswer("a reply must not be empty", text=text)
    if len(stripped) > MAX_REPLY_CHARACTERS:
        raise InvalidAnswer(f"a reply must be at most {MAX_REPLY_CHARACTERS} characters", text=text)
    if "\N{REPLACEMENT CHARACTER}" in stripped:
        raise InvalidAnswer("a reply must be whole characters", text=text)
    return Reply(stripped)


def score(predicted: str, expected: str) -> dict[str, float]:
    """``exact``: the same reply; ``f1``: overlap of character bigrams, 0 to 1 (replies have no single truth)."""
    left, right = _bigrams(predicted), _bigrams(expected)
    common = sum((left & right).values())
    f1 = 2 * common / (sum(left.values()) + sum(right.values())) if common else 0.0
    return {"exact": float(predicted.strip() == expected.strip()), "f1": f1}


def _bigrams(text: str) -> Counter[str]:
    padded = f" {text.strip()} "
    return Counter(padded[i : i + 2] for i in range(len(padded) - 1))
