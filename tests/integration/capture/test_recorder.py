"""The recorder in front of a real server that a test takes away, and gives back."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.scripted.capture import ScriptedCapture

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.base.errors import InvalidInput, Unavailable
from seodang.capture import Outcome, Recorder, RecorderConfig, keeping
from seodang.client import AsyncClient, chat
from seodang.rpc import MeshServer, ServerConfig


def asked(text: str = "안녕?", request_id: str = "", model: str = "models/chat@production") -> Any:
    return generate_pb2.GenerateRequest(request_id=request_id, model=model, prompt=chat([("user", text)]))


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(capture: ScriptedCapture) -> AsyncIterator[str]:
    async with MeshServer("distill", [capture.mount()], ServerConfig(grace_s=1)) as server:
        await server.set_ready()
        yield server.address


@asynccontextmanager
async def recorder_of(address: str, **changes: Any) -> AsyncIterator[Recorder]:
    async with AsyncClient(address) as client, Recorder(client, RecorderConfig(**changes)) as recorder:
        yield recorder


async def test_what_is_offered_arrives_with_all_that_is_told_of_it() -> None:
    capture = ScriptedCapture()
    async with serving(capture) as address, recorder_of(address) as recorder:
        recorder.offer("shop", "user-1", asked(request_id="r1"), "models/chat/versions/3", "반가워요")
        await until(lambda: recorder.outcomes[Outcome.STORED] == 1)
    (kept,) = capture.interactions
    assert (kept.request_id, kept.tenant, kept.subject, kept.dataset) == ("r1", "shop", "user-1", "datasets/chat")
    assert (kept.model, kept.answer, kept.consented) == ("models/chat/versions/3", "반가워요", True)
    assert kept.prompt.messages[0].content == "안녕?"
    assert abs(kept.time.ToSeconds() - time.time()) < 60


async def test_leaving_sends_what_still_waits() -> None:
    capture = ScriptedCapture()
    async with serving(capture) as address:
        async with recorder_of(address, batch=7) as recorder:
            for number in range(100):
                recorder.offer("shop", "", asked(str(number)), "models/chat", "네")
        assert recorder.outcomes == {Outcome.STORED: 100, **dict.fromkeys(_others(Outcome.STORED), 0)}
    assert [kept.prompt.messages[0].content for kept in capture.interactions] == [str(n) for n in range(100)]
    assert len({kept.request_id for kept in capture.interactions}) == 100


async def test_a_service_that_is_away_is_waited_for_and_nobody_notices() -> None:
    capture = ScriptedCapture(failing=Unavailable("restarting"))
    async with serving(capture) as address, recorder_of(address) as recorder:
        began_s = time.perf_counter()
        for number in range(50):
            recorder.offer("shop", "", asked(str(number)), "models/chat", "네")
        assert time.perf_counter() - began_s < 0.5
        await until(lambda: capture.calls >= 1)
        assert capture.interactions == []
        capture.failing = None
        await until(lambda: recorder.outcomes[Outcome.STORED] == 50)


async def test_when_there_is_no_room_new_exchanges_are_dropped_and_counted() -> None:
    async with recorder_of("127.0.0.1:9", waiting_bytes=2_000, flush_s=0.1) as recorder:
        for number in range(100):
            recorder.offer("shop", "", asked(str(number)), "models/chat", "네")
        dropped = recorder.outcomes[Outcome.DROPPED]
        assert 60 < dropped < 100
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 3
    assert recorder.outcomes[Outcome.DROPPED] == 100


async def test_what_no_job_could_use_never_leaves() -> None:
    capture = ScriptedCapture()
    tools = asked()
    tools.prompt.chat.tools.append(chat_pb2.Tool(name="on"))
    text = generate_pb2.GenerateRequest(model="models/chat", prompt=chat_pb2.Prompt(text="Once"))
    async with serving(capture) as address, recorder_of(address, longest_bytes=1_000) as recorder:
        for request, answer in ((tools, "a"), (text, "a"), (asked(), " "), (asked("가" * 1_000), "a")):
            recorder.offer("shop", "", request, "models/chat", answer)
        assert recorder.outcomes[Outcome.UNFIT] == 4
    assert capture.interactions == []


async def test_what_the_service_refuses_is_logged_and_does_not_stop_what_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    capture = ScriptedCapture(failing=InvalidInput("not a dataset"))
    async with serving(capture) as address, recorder_of(address) as recorder:
        recorder.offer("shop", "", asked(), "models/chat", "네")
        await until(lambda: recorder.outcomes[Outcome.FAILED] == 1)
        capture.failing = None
        recorder.offer("shop", "", asked(), "models/chat", "네")
        await until(lambda: recorder.outcomes[Outcome.STORED] == 1)
    assert "1 captured exchanges were refused: not a dataset" in caplog.text


async def test_without_a_tenant_nothing_is_kept() -> None:
    capture = ScriptedCapture()
    async with serving(capture) as address:
        async with keeping(address, "") as keep:
            keep("user-1", asked(), "models/chat", "네")
        assert capture.calls == 0
        async with keeping(address, "shop") as keep:
            keep("user-1", asked(), "models/chat", "네")
    assert [(kept.tenant, kept.subject) for kept in capture.interactions] == [("shop", "user-1")]


def _others(outcome: Outcome) -> list[Outcome]:
    return [each for each in Outcome if each not in (outcome, Outcome.FAILED)]
