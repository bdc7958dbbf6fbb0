"""KakaoTalk's formats, held against its published ones."""

import json
from typing import Any

import httpx
import pytest
from tests.scripted.webhooks import KAKAO_TOKEN, kakao_payload, kakao_request

from seodang.adapters.messaging.domain import HttpAnswer, Incoming, Route, State
from seodang.adapters.messaging.kakao import KakaoChannel, patience, skill_response

NOW_S = 1_700_000_000.0
CALLBACK = "https://bot-api.kakao.com/callback/once"
CHANNEL = KakaoChannel(KAKAO_TOKEN, "5b7399d2c6a5b6", "https://bot-api.kakao.com/")


def _read(payload: dict[str, Any], now_s: float = NOW_S) -> Incoming | HttpAnswer:
    request = kakao_request(payload)
    return CHANNEL.read(request.headers, request.body, now_s)


def _key(now_s: float = NOW_S, **fields: str) -> str:
    read = _read(kakao_payload(**fields), now_s)
    assert isinstance(read, Incoming)
    return read.key


def _refusal(answer: Incoming | HttpAnswer) -> tuple[int, str]:
    assert isinstance(answer, HttpAnswer)
    return answer.status, json.loads(answer.body)["error"]


def test_an_utterance_is_read() -> None:
    message = _read(kakao_payload("  오늘 날씨 어때?\n", callback_url=CALLBACK))
    assert isinstance(message, Incoming)
    assert (message.text, message.route) == ("오늘 날씨 어때?", Route.RESPONSE)
    assert message.address == {"callback_url": CALLBACK}
    assert message.conversation == "kakao/5b7399d2c6a5b6/user-1"


@pytest.mark.parametrize("token", ["", "wrong", KAKAO_TOKEN + " ", KAKAO_TOKEN[:-1], "토큰"])
def test_a_wrong_token_is_refused(token: str) -> None:
    status, why = _refusal(CHANNEL.read({"x-webhook-token": token}, kakao_request().body, NOW_S))
    assert status == 401
    assert "x-webhook-token" in why


def test_another_bot_is_refused() -> None:
    status, why = _refusal(_read(kakao_payload() | {"bot": {"id": "another"}}))
    assert status == 403
    assert "another" in why


@pytest.mark.parametrize(
    "payload",
    [
        kakao_payload(""),
        kakao_payload(user=""),
        kakao_payload() | {"userRequest": None},
        kakao_payload() | {"userRequest": {"utterance": ["a"], "user": "u"}},
        kakao_payload(callback_url="http://169.254.169.254/latest"),
        kakao_payload(callback_url="https://bot-api.kakao.com.example.org/x"),
    ],
)
def test_a_payload_that_cannot_be_answered_is_refused(payload: dict[str, Any]) -> None:
    assert _refusal(_read(payload))[0] == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b'"text"'])
def test_a_body_that_is_no_payload_is_refused(body: bytes) -> None:
    assert _refusal(CHANNEL.read({"x-webhook-token": KAKAO_TOKEN}, body, NOW_S))[0] == 400


def test_the_same_request_at_once_is_the_same_event_and_others_are_not() -> None:
    assert _key() == _key(NOW_S + 1)
    assert _key() != _key(NOW_S + 10)
    assert _key() != _key(utterance="잘 가")
    assert _key() != _key(user="user-2")


def test_a_callback_url_tells_requests_apart_whenever_they_come() -> None:
    assert _key(callback_url=CALLBACK) == _key(NOW_S + 50, callback_url=CALLBACK)
    assert _key(callback_url=CALLBACK) != _key(callback_url=CALLBACK + "2")


def test_a_reply_has_the_published_form() -> None:
    answer = skill_response("안녕하세요!")
    assert json.loads(answer.body) == {
        "version": "2.0",
        "template": {"outputs": [{"simpleText": {"text": "안녕하세요!"}}]},
    }
    assert json.loads(patience("r").body) == {"version": "2.0", "useCallback": True}


def test_a_reply_is_no_longer_than_kakaotalk_takes() -> None:
    content = json.loads(skill_response("가" * 3000).body)
    assert len(content["template"]["outputs"][0]["simpleText"]["text"]) == 1000


@pytest.mark.parametrize(
    ("response", "state"),
    [
        (httpx.Response(200, json={"taskId": "t", "status": "SUCCESS", "message": "ok", "timestamp": 1}), State.SENT),
        (httpx.Response(200), State.SENT),
        (httpx.Response(200, json={"taskId": "t", "status": "FAIL", "message": "used"}), State.FAILED),
        (httpx.Response(400), State.FAILED),
        (httpx.Response(500), State.UNCERTAIN),
    ],
)
def test_each_answer_to_a_callback_is_understood(response: httpx.Response, state: State) -> None:
    assert CHANNEL.judge(response).state is state
