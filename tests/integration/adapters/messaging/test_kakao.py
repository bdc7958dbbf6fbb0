"""A skill request is answered in its response, or by its callback URL, or politely."""

import asyncio
import json
import time

from tests.integration.adapters.messaging.conftest import FALLBACK, Mesh, Start, becomes
from tests.scripted.messenger import Answering
from tests.scripted.webhooks import kakao_payload, kakao_request

from seodang.api.messaging.v1 import messaging_pb2
from seodang.base.errors import Unavailable

Reply = messaging_pb2.Reply
PATIENCE = {"version": "2.0", "useCallback": True}


def _said(text: str) -> dict[str, object]:
    return {"version": "2.0", "template": {"outputs": [{"simpleText": {"text": text}}]}}


async def test_a_reply_in_time_is_the_response(mesh: Mesh) -> None:
    answer = await mesh.deliver(kakao_request(utterance="안녕"))
    assert (answer.status, answer.content_type) == (200, "application/json; charset=utf-8")
    assert json.loads(answer.body) == _said("네, 반가워요")
    assert (answer.reply, answer.duplicate) == ("", False)
    (reply,) = await mesh.settled()
    assert (reply.state, reply.text, reply.platform) == (Reply.STATE_SENT, "네, 반가워요", messaging_pb2.PLATFORM_KAKAO)
    assert mesh.messenger.posted == []


async def test_a_late_reply_goes_to_the_callback_url_once(start: Start) -> None:
    async with start(kakao_answer_within_s=0.3) as mesh:
        mesh.student.pace.hold()
        request = kakao_request(callback_url=mesh.messenger.url + "callback/once")
        answer = await mesh.deliver(request)
        assert json.loads(answer.body) == PATIENCE
        assert answer.reply.startswith("replies/")
        mesh.student.pace.release()
        (reply,) = await mesh.settled()
        assert (reply.name, reply.state, reply.attempts) == (answer.reply, Reply.STATE_SENT, 1)
        again = await mesh.deliver(request)
        assert (json.loads(again.body), again.duplicate) == (PATIENCE, True)
    (posted,) = mesh.messenger.posted
    assert (posted.path, posted.content) == ("/callback/once", _said("네, 반가워요"))


async def test_a_late_reply_without_a_callback_url_is_excused_and_not_sent_later(start: Start) -> None:
    async with start(kakao_answer_within_s=0.3) as mesh:
        mesh.student.pace.hold()
        answer = await mesh.deliver(kakao_request())
        assert json.loads(answer.body) == _said(FALLBACK)
        mesh.student.pace.release()
        await becomes(lambda: not mesh.student.running)
        (reply,) = await mesh.settled()
    assert (reply.state, reply.text) == (Reply.STATE_SENT, FALLBACK)
    assert mesh.messenger.posted == []


async def test_a_student_that_is_away_is_excused_within_the_time(start: Start) -> None:
    async with start(kakao_answer_within_s=1.0) as mesh:
        mesh.student.refusal = Unavailable("its ranks are restarting", retry_after_s=0.1)
        start_s = time.monotonic()
        answer = await mesh.deliver(kakao_request())
        assert time.monotonic() - start_s < 5
    assert json.loads(answer.body) == _said(FALLBACK)


async def test_a_request_delivered_twice_at_once_asks_the_student_once(mesh: Mesh) -> None:
    answers = await asyncio.gather(*(mesh.deliver(kakao_request()) for _ in range(3)))
    assert [json.loads(answer.body) for answer in answers] == [_said("네, 반가워요")] * 3
    assert sorted(answer.duplicate for answer in answers) == [False, True, True]
    assert len(mesh.student.requests) == 1


async def test_a_wrong_token_is_refused_before_anything_is_read(mesh: Mesh) -> None:
    request = kakao_request()
    request.headers["x-webhook-token"] = "wrong"
    assert (await mesh.deliver(request)).status == 401
    assert await mesh.replies() == []


async def test_another_bot_is_refused(start: Start) -> None:
    async with start(kakao_bot_id="mine") as mesh:
        assert (await mesh.deliver(kakao_request())).status == 403
        assert (await mesh.deliver(kakao_request(kakao_payload() | {"bot": {"id": "mine"}}))).status == 200


async def test_a_callback_that_says_no_is_noted(start: Start) -> None:
    async with start(kakao_answer_within_s=0.2) as mesh:
        mesh.messenger.usual = Answering(200, {"taskId": "t", "status": "FAIL", "message": "used already"})
        mesh.student.pace.hold()
        await mesh.deliver(kakao_request(callback_url=mesh.messenger.url + "callback/used"))
        mesh.student.pace.release()
        (reply,) = await mesh.settled()
    assert (reply.state, reply.last_error) == (Reply.STATE_FAILED, "FAIL: used already")


async def test_the_callers_own_deadline_shortens_the_wait(start: Start) -> None:
    async with start(kakao_answer_within_s=4.5) as mesh:
        mesh.student.pace.hold()
        answer = await mesh.client.messaging.DeliverEvent(kakao_request(), timeout=2.5)
        assert json.loads(answer.body) == _said(FALLBACK)
        mesh.student.pace.release()
