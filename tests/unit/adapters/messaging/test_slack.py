"""Slack's formats, held against Slack's own SDK."""

import json
import random
import time
from typing import Any

import httpx
import pytest
from slack_sdk.signature import Clock, SignatureVerifier
from tests.scripted.webhooks import SLACK_SECRET, SLACK_TOKEN, slack_event, slack_signed

from seodang.adapters.messaging.domain import HttpAnswer, Incoming, Outgoing, Platform, Route, State
from seodang.adapters.messaging.slack import SlackChannel

NOW_S = 1_700_000_000.0
CHANNEL = SlackChannel(SLACK_SECRET, SLACK_TOKEN, "https://slack.com/api/", give_up_s=300)


def _read(**changes: Any) -> Incoming | HttpAnswer:
    request = slack_event("Ev1", **changes)
    return CHANNEL.read(request.headers, request.body, time.time())


def _message(**changes: Any) -> Incoming:
    read = _read(**changes)
    assert isinstance(read, Incoming)
    return read


class _At(Clock):
    def now(self) -> float:
        return NOW_S


def test_ten_thousand_tampered_requests_are_judged_as_slacks_own_verifier_judges_them() -> None:
    rng = random.Random(11)
    theirs = SignatureVerifier(SLACK_SECRET, _At())
    verdicts: set[bool] = set()
    for _ in range(10_000):
        body = rng.choice([b"{}", b'{"type":"x"}', "한글".encode(), b"", b"\x00\n"])
        timestamp = str(int(NOW_S) + rng.choice([0, 1, -1, 299, 300, 301, -299, -300, -301, 10**6]))
        signature = str(theirs.generate_signature(timestamp=timestamp, body=body))
        match rng.randrange(6):
            case 0:
                at = rng.randrange(len(signature))
                signature = signature[:at] + rng.choice("0123456789abcdefv=é") + signature[at + 1 :]
            case 1:
                body += b" "
            case 2:
                timestamp = str(int(timestamp) + 1)
            case 3:
                signature = rng.choice(["", "v0=", signature[:-1], signature.upper(), signature[3:]])
        headers = {"x-slack-request-timestamp": timestamp, "x-slack-signature": signature}
        answer = CHANNEL.read(headers, body, NOW_S)
        accepted = not (isinstance(answer, HttpAnswer) and answer.status == 401)
        expected = signature.isascii() and theirs.is_valid(body, timestamp, signature)
        assert accepted == expected, (body, timestamp, signature)
        verdicts.add(accepted)
    assert verdicts == {True, False}


@pytest.mark.parametrize("timestamp", ["", "now", "1e9", "-1", "１７０００００００", "9" * 400])
def test_a_timestamp_that_is_no_number_is_refused(timestamp: str) -> None:
    headers = {"x-slack-request-timestamp": timestamp, "x-slack-signature": "v0=00"}
    answer = CHANNEL.read(headers, b"{}", NOW_S)
    assert isinstance(answer, HttpAnswer)
    assert answer.status == 401


def test_the_challenge_is_given_back() -> None:
    request = slack_signed(b'{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}')
    answer = CHANNEL.read(request.headers, request.body, time.time())
    assert answer == HttpAnswer(200, b"3eZbrw1aB", "text/plain")


def test_a_direct_message_is_answered_in_its_thread() -> None:
    message = _message(ts="1.5")
    assert (message.text, message.route, message.key) == ("안녕", Route.POST, "Ev1")
    assert message.address == {"channel": "D024BE91L", "thread_ts": "1.5"}
    assert _message(ts="1.5", thread_ts="1.2").address["thread_ts"] == "1.2"


def test_a_mention_is_answered_without_the_mention() -> None:
    text = "<@U0LAN0Z89> 1 &lt; 2 &amp;&amp; <@U2> 맞아?"
    assert _message(type="app_mention", channel="C1", channel_type=None, text=text).text == "1 < 2 && <@U2> 맞아?"


@pytest.mark.parametrize(
    "changes",
    [
        {"bot_id": "B1"},
        {"subtype": "bot_message", "user": None},
        {"subtype": "message_changed"},
        {"channel_type": "channel"},
        {"type": "reaction_added"},
        {"user": None},
        {"text": ""},
        {"text": "<@U0LAN0Z89>  "},
        {"channel": None},
        {"ts": None},
        {"text": 5},
        {"channel": {"id": "C1"}},
    ],
)
def test_what_no_person_wrote_to_the_bot_is_acknowledged_and_ignored(changes: dict[str, Any]) -> None:
    assert _read(**changes) == HttpAnswer(200)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff\xfe\x00", b"null", b"{", b"[" * 100_000])
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    request = slack_signed(body)
    answer = CHANNEL.read(request.headers, request.body, time.time())
    assert isinstance(answer, HttpAnswer)
    assert answer.status == 400


def test_half_a_character_is_replaced() -> None:
    assert _message(text="안\ud800녕").text == "안\ufffd녕"


def test_the_reply_is_posted_as_the_sdk_would_with_its_characters_escaped() -> None:
    outgoing = Outgoing(1, "u", Platform.SLACK, "l", {"channel": "C1", "thread_ts": "1.5"}, "a < b & <!here>", 0, 0, 0)
    call = CHANNEL.call(outgoing)
    assert call.url == "https://slack.com/api/chat.postMessage"
    assert call.headers["Authorization"] == f"Bearer {SLACK_TOKEN}"
    assert json.loads(call.body) == {"channel": "C1", "thread_ts": "1.5", "text": "a &lt; b &amp; &lt;!here&gt;"}


@pytest.mark.parametrize(
    ("response", "state", "retry_after_s"),
    [
        (httpx.Response(200, json={"ok": True}), State.SENT, None),
        (httpx.Response(429, headers={"retry-after": "30"}, json={"ok": False}), State.WAITING, 30.0),
        (httpx.Response(429, headers={"retry-after": "soon"}), State.WAITING, 1.0),
        (httpx.Response(200, json={"ok": False, "error": "ratelimited"}), State.WAITING, None),
        (httpx.Response(200, json={"ok": False, "error": "channel_not_found"}), State.FAILED, None),
        (httpx.Response(200, json={"ok": False, "error": "internal_error"}), State.UNCERTAIN, None),
        (httpx.Response(200, text="<html>"), State.UNCERTAIN, None),
        (httpx.Response(503), State.UNCERTAIN, None),
        (httpx.Response(302, headers={"location": "https://example.org"}), State.FAILED, None),
        (httpx.Response(403), State.FAILED, None),
    ],
)
def test_each_answer_means_what_slack_says_it_means(
    response: httpx.Response, state: State, retry_after_s: float | None
) -> None:
    delivery = CHANNEL.judge(response)
    assert (delivery.state, delivery.retry_after_s) == (state, retry_after_s)
