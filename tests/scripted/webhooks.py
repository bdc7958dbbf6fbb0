"""Webhooks as Slack and KakaoTalk send them; the forms are those of their published documentation."""

import hashlib
import hmac
import json
import time
import zlib
from typing import Any

from seodang.api.messaging.v1 import messaging_pb2

SLACK_SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
SLACK_TOKEN = "xoxb-not-a-real-token"
KAKAO_TOKEN = "a-token-of-the-skill"


def slack_event(
    event_id: str, text: str = "안녕", *, retry: int | None = None, **changes: Any
) -> messaging_pb2.DeliverEventRequest:
    """A signed event_callback with a message to the bot; ``changes`` replace fields of the inner event."""
    event = {
        "type": "message",
        "channel": "D024BE91L",
        "channel_type": "im",
        "user": "U2147483697",
        "text": text,
        "ts": f"1355517523.{zlib.crc32(event_id.encode()) % 10**6:06d}",
        "event_ts": "1355517523.000005",
    } | changes
    envelope = {
        "token": "one-long-verification-token",
        "team_id": "T061EG9R6",
        "api_app_id": "A0FFV41KK",
        "event": {name: value for name, value in event.items() if value is not None},
        "type": "event_callback",
        "event_id": event_id,
        "event_time": 1355517523,
        "authorizations": [{"team_id": "T061EG9R6", "user_id": "U0LAN0Z89", "is_bot": True}],
    }
    return slack_signed(json.dumps(envelope).encode(), retry=retry)


def slack_signed(
    body: bytes, *, at_s: float | None = None, retry: int | None = None
) -> messaging_pb2.DeliverEventRequest:
    """A body with the headers that Slack sends, signed as Slack's own SDK does, which takes UTF-8 only."""
    timestamp = str(int(time.time() if at_s is None else at_s))
    signed = b"v0:" + timestamp.encode() + b":" + body
    headers = {
        "content-type": "application/json",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": "v0=" + hmac.new(SLACK_SECRET.encode(), signed, hashlib.sha256).hexdigest(),
    }
    if retry is not None:
        headers |= {"x-slack-retry-num": str(retry), "x-slack-retry-reason": "http_timeout"}
    return messaging_pb2.DeliverEventRequest(platform=messaging_pb2.PLATFORM_SLACK, headers=headers, body=body)


def kakao_payload(utterance: str = "안녕", *, user: str = "user-1", callback_url: str = "") -> dict[str, Any]:
    """A skill payload of version 2.0."""
    request: dict[str, Any] = {
        "timezone": "Asia/Seoul",
        "params": {"ignoreMe": "true"},
        "block": {"id": "5b73a0f3c6a5b6", "name": "폴백 블록"},
        "utterance": utterance,
        "lang": "kr",
        "user": {"id": user, "type": "accountId", "properties": {"botUserKey": user, "plusfriendUserKey": "p"}},
    }
    if callback_url:
        request["callbackUrl"] = callback_url
    return {
        "intent": {"id": "5b73a0f3c6a5b6", "name": "폴백 블록"},
        "userRequest": request,
        "bot": {"id": "5b7399d2c6a5b6", "name": "서당"},
        "action": {"name": "reply", "clientExtra": None, "params": {}, "id": "5b7399d2c6a5b7", "detailParams": {}},
        "contexts": [],
    }


def kakao_request(payload: dict[str, Any] | None = None, **fields: str) -> messaging_pb2.DeliverEventRequest:
    """A skill request with the token of the skill."""
    return messaging_pb2.DeliverEventRequest(
        platform=messaging_pb2.PLATFORM_KAKAO,
        headers={"content-type": "application/json", "x-webhook-token": KAKAO_TOKEN},
        body=json.dumps(payload or kakao_payload(**fields), ensure_ascii=False).encode(),
    )
