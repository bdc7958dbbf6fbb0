"""A Slack event comes in, a reply goes out by chat.postMessage, once."""

import asyncio
import gc
import json
import time
from collections.abc import Iterator

import pytest
from slack_sdk import WebClient
from tests.integration.adapters.messaging.conftest import FALLBACK, Mesh, Start, becomes
from tests.scripted.inference import words
from tests.scripted.messenger import Answering
from tests.scripted.webhooks import SLACK_TOKEN, slack_event, slack_signed

from seodang.api.messaging.v1 import messaging_pb2
from seodang.base.errors import InvalidInput, Unavailable, Unsupported

Reply = messaging_pb2.Reply


async def test_a_message_is_answered_in_its_thread(mesh: Mesh) -> None:
    answer = await mesh.deliver(slack_event("Ev1", "안녕하세요", ts="1.5"))
    assert (answer.status, answer.body, answer.duplicate) == (200, b"", False)
    (reply,) = await mesh.settled()
    assert (reply.name, reply.state, reply.text) == (answer.reply, Reply.STATE_SENT, "네, 반가워요")
    assert (reply.platform, reply.attempts) == (messaging_pb2.PLATFORM_SLACK, 1)
    (posted,) = mesh.messenger.posted
    assert posted.content == {"channel": "D024BE91L", "thread_ts": "1.5", "text": "네, 반가워요"}
    (asked,) = mesh.student.requests
    assert [m.content for m in asked.prompt.chat.messages] == ["chat: ko", "안녕하세요"]


async def test_the_call_has_the_form_of_slacks_own_client(mesh: Mesh) -> None:
    await mesh.deliver(slack_event("Ev1", ts="1.5"))
    await mesh.settled()
    client = WebClient(SLACK_TOKEN, base_url=mesh.messenger.url + "api/")
    await asyncio.to_thread(client.chat_postMessage, channel="D024BE91L", thread_ts="1.5", text="네, 반가워요")
    ours, theirs = mesh.messenger.posted
    assert (ours.path, ours.content) == (theirs.path, theirs.content)
    assert ours.headers["authorization"] == theirs.headers["authorization"]
    assert ours.headers["content-type"].replace(" ", "") == theirs.headers["content-type"].replace(" ", "")


async def test_the_url_is_verified(mesh: Mesh) -> None:
    answer = await mesh.deliver(slack_signed(b'{"type":"url_verification","challenge":"3eZbrw1aB"}'))
    assert (answer.status, answer.content_type, answer.body) == (200, "text/plain", b"3eZbrw1aB")


@pytest.mark.parametrize("age_s", [301, -301])
async def test_an_old_signature_is_refused(mesh: Mesh, age_s: int) -> None:
    answer = await mesh.deliver(slack_signed(b"{}", at_s=time.time() - age_s))
    assert answer.status == 401
    assert "SLACK_SIGNING_SECRET" in json.loads(answer.body)["error"]
    assert await mesh.replies() == []


async def test_an_event_delivered_again_is_answered_once(mesh: Mesh) -> None:
    first = await mesh.deliver(slack_event("Ev1"))
    again = await asyncio.gather(*(mesh.deliver(slack_event("Ev1", retry=n)) for n in (1, 2, 3)))
    assert [(a.status, a.duplicate, a.reply) for a in again] == [(200, True, first.reply)] * 3
    await mesh.settled()
    await mesh.deliver(slack_event("Ev1", retry=3))
    assert len(await mesh.settled()) == len(mesh.messenger.posted) == 1


async def test_an_event_whose_first_delivery_was_lost_is_answered_by_its_retry(mesh: Mesh) -> None:
    assert not (await mesh.deliver(slack_event("Ev1", retry=1))).duplicate
    assert (await mesh.settled())[0].state == Reply.STATE_SENT


async def test_a_bots_message_is_acknowledged_and_not_answered(mesh: Mesh) -> None:
    answer = await mesh.deliver(slack_event("Ev1", bot_id="B1"))
    assert (answer.status, answer.reply) == (200, "")
    assert await mesh.replies() == []


async def test_the_acknowledgement_does_not_wait_for_the_student(mesh: Mesh) -> None:
    mesh.student.pace.hold()
    answer = await mesh.deliver(slack_event("Ev1"))
    (reply,) = await mesh.replies()
    assert (reply.name, reply.state, reply.text) == (answer.reply, Reply.STATE_WAITING, "")
    mesh.student.pace.release()
    assert (await mesh.settled())[0].state == Reply.STATE_SENT


async def test_a_rate_limit_is_waited_out(mesh: Mesh) -> None:
    limited = {"ok": False, "error": "ratelimited"}
    mesh.messenger.script.append(Answering(429, limited, headers={"retry-after": "1"}))
    await mesh.deliver(slack_event("Ev1"))
    (reply,) = await mesh.settled()
    assert (reply.state, reply.attempts, reply.last_error) == (Reply.STATE_SENT, 2, "")
    first, second = mesh.messenger.posted
    assert second.at_s - first.at_s >= 1.0


async def test_replies_of_a_channel_are_paced_and_others_do_not_wait_for_them(start: Start) -> None:
    async with start(channel_sends_per_s=2.0, channel_burst=1) as mesh:
        start_s = time.monotonic()
        for n in range(4):
            await mesh.deliver(slack_event(f"Ev{n}", f"질문 {n}"))
        await mesh.deliver(slack_event("Ev-other", "다른 방", channel="D9"))
        await mesh.settled(5)
    last = mesh.messenger.posted[-1]
    assert last.content["channel"] == "D024BE91L"
    assert last.at_s - start_s >= 1.5


async def test_a_refusal_of_slack_is_noted(mesh: Mesh) -> None:
    mesh.messenger.script.append(Answering(200, {"ok": False, "error": "channel_not_found"}))
    await mesh.deliver(slack_event("Ev1"))
    (reply,) = await mesh.settled()
    assert (reply.state, reply.last_error) == (Reply.STATE_FAILED, "channel_not_found")


@pytest.mark.parametrize("answering", [Answering(None), Answering(502, {}), Answering(delay_s=3)])
async def test_what_may_have_arrived_is_uncertain_and_not_sent_again(start: Start, answering: Answering) -> None:
    async with start(send_timeout_s=0.5) as mesh:
        mesh.messenger.script.append(answering)
        await mesh.deliver(slack_event("Ev1"))
        (reply,) = await mesh.settled()
        assert (reply.state, reply.attempts) == (Reply.STATE_UNCERTAIN, 1)
    assert len(mesh.messenger.posted) == 1


async def test_a_slack_that_is_not_reached_is_tried_again_and_then_given_up(start: Start) -> None:
    async with start(slack_api_url="http://127.0.0.1:1/", send_attempts=2) as mesh:
        await mesh.deliver(slack_event("Ev1"))
        (reply,) = await mesh.settled()
    assert (reply.state, reply.attempts) == (Reply.STATE_FAILED, 2)
    assert "the messenger was not reached" in reply.last_error


async def test_a_student_that_is_away_is_asked_again(mesh: Mesh) -> None:
    mesh.student.refusal = Unavailable("its ranks are restarting", retry_after_s=0.1)
    await mesh.deliver(slack_event("Ev1"))

    async def failed_once() -> bool:
        (reply,) = await mesh.replies()
        return bool(reply.last_error == "its ranks are restarting" and reply.attempts)

    await becomes(failed_once)
    mesh.student.refusal = None
    (reply,) = await mesh.settled()
    assert (reply.state, reply.text) == (Reply.STATE_SENT, "네, 반가워요")


async def test_a_student_that_stays_away_is_excused(start: Start) -> None:
    async with start(give_up_s=1.5) as mesh:
        mesh.student.refusal = Unavailable("its ranks are restarting", retry_after_s=0.1)
        await mesh.deliver(slack_event("Ev1"))
        (reply,) = await mesh.settled()
    assert (reply.state, reply.text) == (Reply.STATE_SENT, FALLBACK)


@pytest.mark.parametrize("written", ["", "   ", "가" * 401])
async def test_a_reply_that_is_none_is_replaced(mesh: Mesh, written: str) -> None:
    mesh.student.answer = lambda request: words(written)
    await mesh.deliver(slack_event("Ev1"))
    assert (await mesh.settled())[0].text == FALLBACK
    assert len(mesh.student.requests) == 1


async def test_earlier_turns_of_the_thread_are_shown_where_wanted(start: Start) -> None:
    async with start(history_turns=2) as mesh:
        for n in range(4):
            await mesh.deliver(slack_event(f"Ev{n}", f"질문 {n}", thread_ts="1.5"))
        await mesh.settled(4)
    last = [m.content for m in mesh.student.requests[-1].prompt.chat.messages]
    assert last == ["chat: ko", "질문 1", "네, 반가워요", "질문 2", "네, 반가워요", "질문 3"]


async def test_replies_are_listed_newest_first_in_pages(mesh: Mesh) -> None:
    for n in range(5):
        await mesh.deliver(slack_event(f"Ev{n}", channel="D1" if n % 2 else "D0", thread_ts="1.5"))
    names = [reply.name for reply in await mesh.settled(5)]
    paged, token = [], ""
    while True:
        request = messaging_pb2.ListRepliesRequest(page_size=2, page_token=token)
        page = await mesh.client.messaging.ListReplies(request)
        paged += [reply.name for reply in page.replies]
        token = page.next_page_token
        if not token:
            break
    assert paged == names
    of_one = await mesh.replies(conversation="slack/T061EG9R6/D1/1.5")
    assert [reply.name for reply in of_one] == [names[1], names[3]]


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (messaging_pb2.DeliverEventRequest(body=b"{}"), "platform=0: say PLATFORM_SLACK or PLATFORM_KAKAO"),
        (messaging_pb2.DeliverEventRequest(platform=9, body=b"{}"), "platform=9"),  # type: ignore[arg-type]
        (slack_signed(b"a" * (2**20 + 1)), "body is 1048577 bytes, more than 1048576"),
    ],
)
async def test_what_is_no_webhook_is_the_status_of_the_call(
    mesh: Mesh, event: messaging_pb2.DeliverEventRequest, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        await mesh.deliver(event)


@pytest.mark.parametrize(("page_size", "page_token"), [(-1, ""), (0, "bm9uZQ"), (0, "\x00é"), (0, "YmVmb3JlIC01")])
async def test_a_bad_page_is_refused(mesh: Mesh, page_size: int, page_token: str) -> None:
    with pytest.raises(InvalidInput):
        await mesh.replies(page_size=page_size, page_token=page_token)


async def test_a_messenger_without_secrets_is_not_served(start: Start) -> None:
    async with start(slack_signing_secret="", slack_bot_token="") as mesh:
        with pytest.raises(Unsupported, match="SEODANG_MESSAGING_SLACK_SIGNING_SECRET"):
            await mesh.deliver(slack_event("Ev1"))


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is closed merely because the garbage collector came by."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
async def test_callers_that_leave_do_no_harm(mesh: Mesh) -> None:
    for n in range(12):
        call = asyncio.ensure_future(mesh.deliver(slack_event(f"Ev{n}", channel=f"D{n}")))
        await asyncio.sleep(0.001 * n)
        call.cancel()
    # Slack, too, would deliver again what was not acknowledged.
    await asyncio.gather(*(mesh.deliver(slack_event(f"Ev{n}", channel=f"D{n}", retry=1)) for n in range(12)))
    await mesh.settled(12)
    assert len(mesh.messenger.posted) == 12
