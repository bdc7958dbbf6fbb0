"""The messaging service on a real port, with a scripted student and scripted messengers behind real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.scripted.inference import ScriptedInference, words
from tests.scripted.messenger import ScriptedMessenger, scripted_messenger
from tests.scripted.webhooks import KAKAO_TOKEN, SLACK_SECRET, SLACK_TOKEN

from seodang.adapters.messaging.server import running_server
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.api.messaging.v1 import messaging_pb2
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, ServerConfig

FALLBACK = "잠시 후 다시 말씀해 주세요."


@dataclass(frozen=True)
class Mesh:
    """A client of the messaging service, the student behind it and the messenger before it."""

    client: AsyncClient
    student: ScriptedInference
    messenger: ScriptedMessenger

    async def deliver(self, event: messaging_pb2.DeliverEventRequest) -> messaging_pb2.DeliverEventResponse:
        return await self.client.messaging.DeliverEvent(event, timeout=10)

    async def replies(self, **fields: Any) -> list[messaging_pb2.Reply]:
        page = await self.client.messaging.ListReplies(messaging_pb2.ListRepliesRequest(**fields), timeout=10)
        return list(page.replies)

    async def settled(self, count: int = 1) -> list[messaging_pb2.Reply]:
        """All replies, newest first, once there are ``count`` and none of them waits."""
        async with asyncio.timeout(100):
            while True:
                replies = await self.replies(page_size=1000)
                if len(replies) == count and all(r.state != messaging_pb2.Reply.STATE_WAITING for r in replies):
                    return replies
                await asyncio.sleep(0.02)


Start = Callable[..., AbstractAsyncContextManager[Mesh]]


@pytest.fixture
def messenger() -> Iterator[ScriptedMessenger]:
    with scripted_messenger() as messenger:
        yield messenger


@pytest.fixture
async def student() -> AsyncIterator[tuple[ScriptedInference, str]]:
    student = ScriptedInference(["models/messaging"], answer=lambda request: words("네, 반가워요"))
    async with MeshServer("student", [student.mount()], ServerConfig(grace_s=1)) as server:
        yield student, server.address


@pytest.fixture
def start(tmp_path: Path, student: tuple[ScriptedInference, str], messenger: ScriptedMessenger) -> Start:
    """Starts the service, with other settings where a test gives them."""

    @asynccontextmanager
    async def started(**changes: Any) -> AsyncIterator[Mesh]:
        values = {
            "port": 0,
            "grace_s": 1,
            "state_dir": tmp_path / "state",
            "student_address": student[1],
            "slack_signing_secret": SLACK_SECRET,
            "slack_bot_token": SLACK_TOKEN,
            "slack_api_url": messenger.url + "api/",
            "kakao_token": KAKAO_TOKEN,
            "kakao_callback_prefix": messenger.url,
            "kakao_answer_within_s": 3.0,
            "channel_sends_per_s": 100.0,
            "fallback_text": FALLBACK,
        }
        async with (
            running_server(MessagingSettings(**(values | changes))) as server,
            AsyncClient(server.address) as client,
        ):
            yield Mesh(client, student[0], messenger)

    return started


@pytest.fixture
async def mesh(start: Start) -> AsyncIterator[Mesh]:
    async with start() as mesh:
        yield mesh


async def becomes(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Waits until a condition holds."""
    async with asyncio.timeout(100):
        while True:
            holds = condition()
            if holds if isinstance(holds, bool) else await holds:
                return
            await asyncio.sleep(0.01)
