"""The service as a process: it dies at any moment, and each message is still answered once, or said to be uncertain."""

import asyncio
import random
import signal
import subprocess
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.integration.adapters.messaging.conftest import Mesh, Start, becomes
from tests.integration.adapters.processes import adapter_process
from tests.scripted.inference import ScriptedInference, words
from tests.scripted.messenger import Answering, ScriptedMessenger
from tests.scripted.webhooks import KAKAO_TOKEN, SLACK_SECRET, SLACK_TOKEN, kakao_request, slack_event

from seodang.api.messaging.v1 import messaging_pb2
from seodang.base.errors import SeodangError
from seodang.client import AsyncClient

Reply = messaging_pb2.Reply
EVENTS = 42
CHANNELS = 7
KILLS = 3


class Service:
    """The service as a process that can be killed and started again on the same folder."""

    def __init__(self, folder: Path, student_address: str, messenger: ScriptedMessenger) -> None:
        self._folder = folder
        self._settings = {
            "student_address": student_address,
            "slack_signing_secret": SLACK_SECRET,
            "slack_bot_token": SLACK_TOKEN,
            "slack_api_url": messenger.url + "api/",
            "kakao_token": KAKAO_TOKEN,
            "kakao_callback_prefix": messenger.url,
            "kakao_answer_within_s": 0.2,
            "channel_sends_per_s": 200,
        }
        self._running = ExitStack()
        self.process: subprocess.Popen[bytes]
        self.address = ""

    async def start(self) -> None:
        context = adapter_process("messaging", self._folder, **self._settings)
        self.process, self.address = await asyncio.to_thread(self._running.enter_context, context)

    async def kill(self) -> None:
        self.address = ""
        self.process.kill()
        await asyncio.to_thread(self._running.close)

    async def insist(self, event: messaging_pb2.DeliverEventRequest) -> messaging_pb2.DeliverEventResponse:
        """Delivers until it is acknowledged, as messengers do."""
        while True:
            if self.address:
                async with AsyncClient(self.address) as client:
                    try:
                        return await client.messaging.DeliverEvent(event, timeout=5)
                    except SeodangError:
                        pass
            await asyncio.sleep(0.05)

    def logged(self) -> str:
        return "".join(path.read_text() for path in self._folder.glob("*.log"))


@pytest.fixture
def service(tmp_path: Path, student: tuple[ScriptedInference, str], messenger: ScriptedMessenger) -> Service:
    return Service(tmp_path, student[1], messenger)


@pytest.mark.timeout(300)
async def test_killed_again_and_again_it_loses_nothing_and_answers_nothing_twice(
    service: Service, start: Start, student: tuple[ScriptedInference, str], messenger: ScriptedMessenger
) -> None:
    rng = random.Random(3)
    student[0].answer = lambda request: words("답 " + request.prompt.chat.messages[-1].content)
    messenger.usual = Answering(delay_s=0.03)
    names: dict[str, str] = {}
    acknowledged: list[int] = []

    async def deliver(n: int) -> None:
        await asyncio.sleep(rng.random() * n / 20)
        for retry in (None, 1):
            answer = await service.insist(slack_event(f"Ev{n}", f"질문{n}", channel=f"D{n % CHANNELS}", retry=retry))
            names[f"답 질문{n}"] = answer.reply
            acknowledged.append(n)

    async with asyncio.TaskGroup() as group:
        for n in range(EVENTS):
            group.create_task(deliver(n))
        for kill in range(KILLS):
            await service.start()
            await becomes(lambda share=EVENTS * (kill + 1) // (KILLS + 2): len(messenger.posted) >= share)  # type: ignore[misc]
            await asyncio.sleep(rng.random() * 0.05)
            await service.kill()
        mesh = await group.create_task(_last(start, service, acknowledged))

    replies = {reply.name: reply for reply in mesh}
    posts = Counter(messenger.texts())
    assert len(names) == EVENTS
    assert set(names.values()) == set(replies)
    for text, name in names.items():
        assert replies[name].text == text
        if replies[name].state == Reply.STATE_SENT:
            assert posts[text] == 1
        else:
            assert replies[name].state == Reply.STATE_UNCERTAIN
            assert posts[text] <= 1
    # A kill interrupts what is on its way: at most one reply in each channel.
    assert sum(reply.state == Reply.STATE_UNCERTAIN for reply in mesh) <= CHANNELS * KILLS


async def _last(start: Start, service: Service, acknowledged: list[int]) -> list[messaging_pb2.Reply]:
    """What a last service, which nobody kills, makes of it all; it stays until everybody has been told."""
    async with start() as mesh:
        service.address = mesh.client.address
        await becomes(lambda: len(acknowledged) == 2 * EVENTS)
        return await mesh.settled(EVENTS)


async def test_a_send_that_a_kill_interrupted_is_uncertain_and_never_repeated(
    service: Service, start: Start, messenger: ScriptedMessenger
) -> None:
    messenger.usual = Answering(delay_s=1.0)
    await service.start()
    await service.insist(slack_event("Ev1"))
    await becomes(lambda: len(messenger.posted) == 1)
    await service.kill()
    async with start() as mesh:
        (reply,) = await mesh.settled()
        assert (reply.state, reply.attempts) == (Reply.STATE_UNCERTAIN, 1)
        assert "died between sending" in reply.last_error
        assert (await mesh.deliver(slack_event("Ev1", retry=2))).duplicate
        await mesh.deliver(slack_event("Ev2"))
        await mesh.settled(2)
    assert len(messenger.posted) == 2


async def test_told_to_stop_it_finishes_what_is_on_its_way(
    service: Service, start: Start, messenger: ScriptedMessenger
) -> None:
    messenger.usual = Answering(delay_s=1.0)
    await service.start()
    await service.insist(slack_event("Ev1"))
    await becomes(lambda: len(messenger.posted) == 1)
    service.process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(service.process.wait, 60) == 0
    async with start() as mesh:
        (reply,) = await mesh.settled()
    await service.kill()
    assert (reply.state, len(messenger.posted)) == (Reply.STATE_SENT, 1)


async def test_a_promised_callback_is_kept_by_the_next_process(
    service: Service, start: Start, student: tuple[ScriptedInference, str], messenger: ScriptedMessenger
) -> None:
    student[0].pace.hold()
    await service.start()
    answer = await service.insist(kakao_request(callback_url=messenger.url + "callback/once"))
    assert b"useCallback" in answer.body
    await service.kill()
    student[0].pace.release()
    async with start() as mesh:
        (reply,) = await mesh.settled()
    assert (reply.name, reply.state) == (answer.reply, Reply.STATE_SENT)
    assert [posted.path for posted in messenger.posted] == ["/callback/once"]


async def test_no_secret_is_ever_logged(
    service: Service, student: tuple[ScriptedInference, str], messenger: ScriptedMessenger
) -> None:
    student[0].pace.hold()
    await service.start()
    forged = slack_event("Ev0")
    forged.headers["x-slack-signature"] = "v0=" + "0" * 64
    assert (await service.insist(forged)).status == 401
    await service.insist(kakao_request(callback_url=messenger.url + "callback/a-secret-path"))
    await service.insist(slack_event("Ev1"))
    messenger.usual = Answering(None)
    student[0].pace.release()
    await becomes(lambda: service.logged().count("is uncertain") == 2)
    await service.kill()
    for secret in (SLACK_SECRET, SLACK_TOKEN, KAKAO_TOKEN, "a-secret-path"):
        assert secret not in service.logged()


async def test_a_second_service_does_not_touch_the_folder_of_the_first(mesh: Mesh, start: Start) -> None:
    del mesh
    with pytest.raises(SeodangError, match="belongs to a running messaging service"):
        async with start():
            pass


async def test_a_taken_port_is_named(mesh: Mesh, start: Start, tmp_path: Path) -> None:
    with pytest.raises(SeodangError, match="is the port taken"):
        async with start(state_dir=tmp_path / "other", port=int(mesh.client.address.rpartition(":")[2])):
            pass
