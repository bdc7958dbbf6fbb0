"""Each adapter shares what people agree to, and only that: the processes as operators run them."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.integration.adapters.processes import adapter_process
from tests.scripted.capture import ScriptedCapture
from tests.scripted.inference import ScriptedInference, words
from tests.scripted.webhooks import KAKAO_TOKEN, kakao_request

from seodang.adapters.messaging.server import running_server as running_messaging
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.api.capture.v1 import capture_pb2
from seodang.api.robotics.v1 import robotics_pb2
from seodang.api.search.v1 import search_pb2
from seodang.api.types.v1 import tensor_pb2
from seodang.api.voice.v1 import voice_pb2
from seodang.client import AsyncClient
from seodang.distill.server import running_server as running_distill
from seodang.distill.settings import DistillSettings
from seodang.rpc import MeshServer

SOUND = Path(__file__).resolve().parents[3] / "examples" / "demo" / "living_room_light_ko.wav"
CALL = '{"name":"HassTurnOn","arguments":{"domain":"light"}}'


@asynccontextmanager
async def mesh(model: str, answer: str) -> AsyncIterator[tuple[ScriptedCapture, dict[str, str]]]:
    """A student and a capture service, and the settings that lead an adapter to them."""
    student, capture = ScriptedInference([model], answer=lambda request: words(answer)), ScriptedCapture()
    async with MeshServer("student", [student.mount()]) as up, MeshServer("distill", [capture.mount()]) as keeping:
        await up.set_ready()
        await keeping.set_ready()
        yield capture, {
            "student_address": up.address, "capture_address": keeping.address, "capture_tenant": "house"
        }  # fmt: skip


@asynccontextmanager
async def ended_well(process: Any) -> AsyncIterator[None]:
    """Whatever waits to be kept is sent by the time the process has ended."""
    yield
    process.send_signal(signal.SIGTERM)
    assert await asyncio.to_thread(process.wait, 60) == 0


def kept(capture: ScriptedCapture) -> list[tuple[str, str, str, str]]:
    return [(each.tenant, each.subject, each.dataset, each.answer) for each in capture.interactions]


async def test_search_shares_questions_with_their_passages(tmp_path: Path) -> None:
    said = '1443년 [1] "한글은 1443년에 만들어졌다."'
    async with mesh("models/search", said) as (capture, settings):
        with adapter_process("search", tmp_path, **settings) as (process, address):
            async with ended_well(process), AsyncClient(address) as client:
                await client.search.IndexDocuments(
                    search_pb2.IndexDocumentsRequest(
                        index="indexes/a", documents=[search_pb2.Document(id="h", text="한글은 1443년에 만들어졌다.")]
                    )
                )
                for fields in ({}, {"store": True, "subject": "p-1"}):
                    request = search_pb2.AnswerRequest(index="indexes/a", question="한글은 언제?", **fields)
                    async for _ in client.search.Answer(request, timeout=20):
                        pass
        assert kept(capture) == [("house", "p-1", "datasets/search", said)]
    assert "한글은 1443년에 만들어졌다." in capture.interactions[0].prompt.messages[-1].content


async def test_voice_shares_what_was_heard(tmp_path: Path) -> None:
    async with mesh("models/assistant", CALL) as (capture, settings):
        with adapter_process("voice", tmp_path, **settings) as (process, address):
            async with ended_well(process), AsyncClient(address) as client:
                for fields in ({}, {"store": True, "subject": "p-1"}):
                    request = voice_pb2.AskRequest(wav=SOUND.read_bytes(), language="ko", text_only=True, **fields)
                    await client.voice.Ask(request, timeout=60)
                await converse(client)
    assert kept(capture) == [("house", who, "datasets/assistant", CALL) for who in ("p-1", "p-2")]
    assert "불" in capture.interactions[0].prompt.messages[-1].content


async def converse(client: AsyncClient) -> None:
    """The same sound once more, in a conversation that is shared."""
    audio = voice_pb2.AudioFormat(sample_rate=16_000)
    config = voice_pb2.ConverseConfig(input=audio, output=audio, language="ko", store=True, subject="p-2")

    async def events() -> AsyncIterator[voice_pb2.ConverseRequest]:
        yield voice_pb2.ConverseRequest(config=config)
        yield voice_pb2.ConverseRequest(audio=SOUND.read_bytes()[44:])
        yield voice_pb2.ConverseRequest(end_utterance=voice_pb2.ConverseRequest.EndUtterance())

    async for event in client.voice.Converse(events(), timeout=60):
        assert not event.HasField("fault"), event
        if event.HasField("reply_text"):
            return


async def test_robotics_shares_the_decisions_of_a_mission(tmp_path: Path) -> None:
    view = np.zeros((7, 7, 3), np.uint8)
    view[:, :, 0] = 1
    tensor = tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_UINT8, shape=view.shape, data=view.tobytes())
    async with mesh("models/robot", "forward") as (capture, settings):
        with adapter_process("robotics", tmp_path, **settings) as (process, address):
            async with ended_well(process), AsyncClient(address) as client:
                for fields in ({}, {"store": True, "subject": "p-1"}):
                    call = client.robotics.Drive(timeout=20)
                    start = robotics_pb2.Start(session="s", mission="go to the red ball", **fields)
                    await call.write(robotics_pb2.DriveRequest(start=start))
                    seen = robotics_pb2.Observation(view=tensor)
                    await call.write(robotics_pb2.DriveRequest(observation=seen))
                    assert (await call.read()).HasField("command")
                    await call.done_writing()
                    while hasattr(await call.read(), "HasField"):
                        pass
    assert kept(capture) == [("house", "p-1", "datasets/robot", "forward")]
    assert "go to the red ball" in capture.interactions[0].prompt.messages[-1].content


@pytest.mark.parametrize("tenant", ["house", ""])
async def test_what_is_written_to_a_messenger_is_kept_without_personal_data(tmp_path: Path, tenant: str) -> None:
    """Nothing but the student is replaced here: the real messaging service, and the real one that keeps."""
    student = ScriptedInference(["models/messaging"], answer=lambda request: words("네, 전화할게요"))
    async with (
        MeshServer("student", [student.mount()]) as up,
        running_distill(DistillSettings(port=0, grace_s=1, state_dir=tmp_path / "distill")) as distill,
        AsyncClient(distill.address) as keeper,
    ):
        await up.set_ready()
        policy = capture_pb2.Policy(tenant="house", enabled=True, sample_rate=1, consent="the channel's terms")
        await keeper.capture.SetPolicy(capture_pb2.SetPolicyRequest(policy=policy))
        settings = MessagingSettings(
            port=0, grace_s=1, state_dir=tmp_path / "messaging", student_address=up.address, kakao_token=KAKAO_TOKEN,
            capture_tenant=tenant, capture_address=distill.address,
        )  # fmt: skip
        async with running_messaging(settings) as messaging, AsyncClient(messaging.address) as client:
            event = kakao_request(utterance="내 번호는 010-1234-5678이야", user="user-1")
            assert (await client.messaging.DeliverEvent(event, timeout=10)).status == 200
        erase = capture_pb2.EraseSubjectRequest(tenant="house", subject="kakao/5b7399d2c6a5b6/user-1")
        if not tenant:
            assert (await keeper.capture.EraseSubject(erase)).erased == 0
            return
        freeze = capture_pb2.CreateDatasetVersionRequest(dataset="datasets/messaging")
        version = (await keeper.capture.CreateDatasetVersion(freeze)).version
        assert (version.prompts, dict(version.redactions)) == (1, {"PHONE": 1})
        done = await keeper.capture.EraseSubject(erase)
        assert (done.erased, list(done.withdrawn_versions)) == (1, [version.name])
