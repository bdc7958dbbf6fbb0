"""KakaoTalk: chatbot skills, version 2.0, with the callback of AI chatbots.

Formats: https://kakaobusiness.gitbook.io/main/tool/chatbot/skill_guide/answer_json_format and, beside it,
``ai_chatbot_callback_guide``: a skill must answer within 5 seconds; where the request has a callback URL it may ask
for patience instead and post its reply there, once, within a minute.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import httpx

from seodang.adapters.messaging.channel import json_answer, json_object, judge_status, refused, same_secret, text_at
from seodang.adapters.messaging.domain import Call, Delivery, HttpAnswer, Incoming, Outgoing, Platform, Route, State

TOKEN_HEADER: Final = "x-webhook-token"
MAX_TEXT_CHARACTERS: Final = 1000
# A little less than the minute that a callback URL lives.
CALLBACK_LIFE_S: Final = 55.0
# Without a callback URL nothing tells a repeated delivery from the same words said again, except that it comes at once.
REPEAT_WINDOW_S: Final = 5.0


class KakaoChannel:
    """Answers skill requests of a bot."""

    def __init__(self, token: str, bot_id: str, callback_prefix: str) -> None:
        self._token = token
        self._bot_id = bot_id
        self._callback_prefix = callback_prefix

    def read(self, headers: Mapping[str, str], body: bytes, now_s: float) -> Incoming | HttpAnswer:
        """The utterance in a skill request."""
        if not same_secret(headers.get(TOKEN_HEADER, ""), self._token):
            return refused(401, f"the header {TOKEN_HEADER} is missing or wrong: set it in the skill's settings")
        payload = json_object(body)
        if payload is None:
            return refused(400, "the body is no JSON object: a skill payload is expected")
        bot_id = text_at(payload, "bot", "id")
        if self._bot_id and bot_id != self._bot_id:
            return refused(403, f"bot.id={bot_id[:80]!r} is not SEODANG_MESSAGING_KAKAO_BOT_ID")
        user, utterance = text_at(payload, "userRequest", "user", "id"), text_at(payload, "userRequest", "utterance")
        if not user or not utterance.strip():
            return refused(400, "userRequest.user.id and userRequest.utterance must not be empty")
        callback_url = text_at(payload, "userRequest", "callbackUrl")
        if callback_url and not callback_url.startswith(self._callback_prefix):
            return refused(400, f"userRequest.callbackUrl must begin with {self._callback_prefix}")
        return Incoming(
            platform=Platform.KAKAO,
            key=_key(payload, callback_url, now_s),
            conversation=f"kakao/{bot_id}/{user}",
            lane=f"kakao/{bot_id}/{user}",
            text=utterance.strip(),
            route=Route.RESPONSE,
            address={"callback_url": callback_url} if callback_url else {},
            answer_by_s=now_s + CALLBACK_LIFE_S,
        )

    def call(self, outgoing: Outgoing) -> Call:
        """The reply, posted to the callback URL."""
        answer = skill_response(outgoing.text)
        return Call(outgoing.address["callback_url"], {"Content-Type": answer.content_type}, answer.body)

    def judge(self, response: httpx.Response) -> Delivery:
        """The HTTP status, then the ``status`` of the body, where there is one."""
        if (by_status := judge_status(response)) is not None:
            return by_status
        content = json_object(response.content) or {}
        if text_at(content, "status") in ("", "SUCCESS"):
            return Delivery(State.SENT)
        return Delivery(State.FAILED, f"{text_at(content, 'status')}: {text_at(content, 'message')}"[:200])


def skill_response(text: str) -> HttpAnswer:
    """A reply in words. Without ``version`` KakaoTalk would take it for the format before 2.0."""
    output = {"simpleText": {"text": text[:MAX_TEXT_CHARACTERS]}}
    return json_answer(200, {"version": "2.0", "template": {"outputs": [output]}})


def patience(reply_uid: str) -> HttpAnswer:
    """Tells KakaoTalk that the reply will come by the callback URL."""
    return replace(json_answer(200, {"version": "2.0", "useCallback": True}), reply_uid=reply_uid)


def _key(payload: dict[str, Any], callback_url: str, now_s: float) -> str:
    """A callback URL is new for each request, so it tells requests apart; else the words and the moment have to."""
    once = callback_url or f"{now_s // REPEAT_WINDOW_S:.0f}"
    parts = [
        text_at(payload, "bot", "id"),
        text_at(payload, "userRequest", "user", "id"),
        text_at(payload, "userRequest", "block", "id"),
        text_at(payload, "userRequest", "utterance"),
        once,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
