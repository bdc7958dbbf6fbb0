"""Slack: the Events API in (https://docs.slack.dev/apis/events-api), chat.postMessage out."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from seodang.adapters.messaging.channel import (
    JSON_TYPE,
    json_bytes,
    json_object,
    judge_status,
    refused,
    same_secret,
    text_at,
)
from seodang.adapters.messaging.domain import Call, Delivery, HttpAnswer, Incoming, Outgoing, Platform, Route, State

SIGNATURE_WINDOW_S: Final = 300
_LEADING_MENTIONS = re.compile(r"\A\s*(?:<@[A-Z0-9]+(?:\|[^>]*)?>\s*)+")
# Slack says of these that part of the operation may have succeeded before the error.
_MAY_HAVE_POSTED: Final = {"internal_error", "fatal_error"}
_TAKE_LATER: Final = {"ratelimited", "rate_limited", "service_unavailable", "request_timeout"}


class SlackChannel:
    """Answers app mentions, and messages written to the bot itself, in their threads."""

    def __init__(self, signing_secret: str, bot_token: str, api_url: str, give_up_s: float) -> None:
        self._signing_secret = signing_secret
        self._bot_token = bot_token
        self._post_url = api_url.rstrip("/") + "/chat.postMessage"
        self._give_up_s = give_up_s

    def read(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Incoming | HttpAnswer:
        """The message in an event."""
        if not self._signed(headers, body, now_s):
            return refused(401, "the signature or its timestamp is wrong: check SEODANG_MESSAGING_SLACK_SIGNING_SECRET")
        envelope = json_object(body)
        if envelope is None:
            return refused(400, "the body is no JSON object: send the event as Slack does, with content type JSON")
        if envelope.get("type") == "url_verification":
            return HttpAnswer(200, text_at(envelope, "challenge").encode(), "text/plain")
        return self._message(envelope, now_s) or HttpAnswer(200)

    def call(self, outgoing: Outgoing) -> Call:
        """chat.postMessage."""
        content = {
            "channel": outgoing.address["channel"],
            "thread_ts": outgoing.address["thread_ts"],
            "text": _escaped(outgoing.text),
        }
        headers = {"Authorization": f"Bearer {self._bot_token}", "Content-Type": JSON_TYPE}
        return Call(self._post_url, headers, json_bytes(content))

    def judge(self, response: httpx.Response) -> Delivery:
        """The status, then ``ok`` and ``error``."""
        if (by_status := judge_status(response)) is not None:
            return by_status
        content = json_object(response.content)
        if content is None:
            return Delivery(State.UNCERTAIN, "Slack answered with something other than JSON")
        if content.get("ok") is True:
            return Delivery(State.SENT)
        error = text_at(content, "error") or "unknown error"
        if error in _TAKE_LATER:
            return Delivery(State.WAITING, error)
        return Delivery(State.UNCERTAIN if error in _MAY_HAVE_POSTED else State.FAILED, error)

    def _signed(self, headers: Mapping[str, str], body: bytes, now_s: float) -> bool:
        timestamp = headers.get("x-slack-request-timestamp", "")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16):
            return False
        if abs(now_s - int(timestamp)) > SIGNATURE_WINDOW_S:
            return False
        signed = b"v0:" + timestamp.encode() + b":" + body
        digest = hmac.new(self._signing_secret.encode(), signed, hashlib.sha256).hexdigest()
        return same_secret(headers.get("x-slack-signature", ""), f"v0={digest}")

    def _message(self, envelope: dict[str, Any], now_s: float) -> Incoming | None:
        """The message of an event to be answered: a person's, new, and meant for the bot."""
        event = envelope.get("event")
        if envelope.get("type") != "event_callback" or not isinstance(event, dict):
            return None
        kind, channel, at = (text_at(event, name) for name in ("type", "channel", "ts"))
        direct = kind == "message" and text_at(event, "channel_type") == "im"
        # Edits, deletions, joins and the like have a subtype; a bot that answers bots may never stop.
        from_person = bool(text_at(event, "user")) and not event.get("subtype") and not event.get("bot_id")
        text = _unescaped(_LEADING_MENTIONS.sub("", text_at(event, "text"))).strip()
        event_id = text_at(envelope, "event_id")
        if not (from_person and (direct or kind == "app_mention") and text and channel and at and event_id):
            return None
        team, thread = text_at(envelope, "team_id"), text_at(event, "thread_ts") or at
        return Incoming(
            platform=Platform.SLACK,
            key=event_id,
            conversation=f"slack/{team}/{channel}/{thread}",
            lane=f"slack/{team}/{channel}",
            text=text,
            route=Route.POST,
            address={"channel": channel, "thread_ts": thread},
            answer_by_s=now_s + self._give_up_s,
        )


def _unescaped(text: str) -> str:
    """Slack escapes these three characters, and no others."""
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
