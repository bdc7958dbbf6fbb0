"""What a messenger must be able to do for us; ``slack`` and ``kakao`` do it."""

import hmac
import json
from collections.abc import Mapping
from typing import Any, Final, Protocol

import httpx

from seodang.adapters.messaging.domain import Call, Delivery, HttpAnswer, Incoming, Outgoing, State

JSON_TYPE: Final = "application/json; charset=utf-8"


class Channel(Protocol):
    """One messenger's formats."""

    def read(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Incoming | HttpAnswer:
        """The message in a webhook, or the answer to one that brings none: refused, ignored, or a challenge.

        Nothing of the body is believed before the sender has proved itself. Header names are in lower case.
        """

    def call(self, outgoing: Outgoing) -> Call:
        """The call that sends a reply."""

    def judge(self, response: httpx.Response) -> Delivery:
        """What the messenger's answer to that call means."""


def same_secret(left: str, right: str) -> bool:
    """Compares in a time that tells nothing about where they differ; an empty secret is never right."""
    return bool(right) and hmac.compare_digest(left.encode(), right.encode())


def refused(status: int, why: str) -> HttpAnswer:
    """A refusal that says what is wrong, as JSON."""
    return json_answer(status, {"error": why})


def json_answer(status: int, content: object) -> HttpAnswer:
    """An answer in JSON."""
    return HttpAnswer(status, json_bytes(content), JSON_TYPE)


def json_bytes(content: object) -> bytes:
    """Compact JSON in UTF-8."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


def json_object(body: bytes) -> dict[str, Any] | None:
    """The JSON object that a body is; None when it is anything else."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def text_at(content: object, *path: str) -> str:
    """The string at a path of keys, empty when there is none."""
    for key in path:
        content = content.get(key) if isinstance(content, dict) else None
    if not isinstance(content, str):
        return ""
    # JSON can escape half of a character (a lone surrogate), which no database and no wire takes.
    return content.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def judge_status(response: httpx.Response) -> Delivery | None:
    """What the HTTP status alone says; None when the body must be read."""
    if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
        return Delivery(State.WAITING, "HTTP 429: too many requests", _retry_after_s(response))
    if response.is_server_error:
        return Delivery(State.UNCERTAIN, f"HTTP {response.status_code}: the messenger may or may not have taken it")
    if not response.is_success:
        return Delivery(State.FAILED, f"HTTP {response.status_code}: the messenger refused it")
    return None


def _retry_after_s(response: httpx.Response) -> float:
    try:
        return max(float(response.headers.get("retry-after", "1")), 0.0)
    except ValueError:
        return 1.0
