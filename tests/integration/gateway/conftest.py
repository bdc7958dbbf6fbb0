"""The real gateway over real gRPC servers whose answers are scripted."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from tests.scripted.inference import ScriptedInference

from seodang.api.messaging.v1 import messaging_pb2, messaging_pb2_grpc
from seodang.gateway import GatewaySettings, Upstreams, create_app
from seodang.gateway.server import http_server
from seodang.rpc import MeshServer, Mount


class ScriptedMessaging(messaging_pb2_grpc.MessagingServiceServicer):
    """Keeps each event and gives the answer that the test set."""

    def __init__(self) -> None:
        self.events: list[messaging_pb2.DeliverEventRequest] = []
        self.answer = messaging_pb2.DeliverEventResponse(status=200, content_type="application/json", body=b"{}")

    async def DeliverEvent(
        self, request: messaging_pb2.DeliverEventRequest, context: Any
    ) -> messaging_pb2.DeliverEventResponse:
        self.events.append(request)
        return self.answer


@dataclass
class Mesh:
    """Scripted servers and the gateway in front of them; ``start`` adds further gateways."""

    teacher: ScriptedInference
    student: ScriptedInference
    messaging: ScriptedMessaging
    servers: dict[str, MeshServer]
    stack: AsyncExitStack
    url: str = ""

    async def start(self, **changes: Any) -> str:
        """A gateway with changed settings; returns its URL."""
        addresses = {f"{name}_address": server.address for name, server in self.servers.items()}
        settings = GatewaySettings(port=0, grace_s=1, lookup_timeout_s=1.5, **(addresses | changes))
        upstreams = await self.stack.enter_async_context(Upstreams(settings))
        address = await self.stack.enter_async_context(http_server(create_app(settings, upstreams), settings))
        return f"http://{address}"

    def openai(self, url: str = "", **options: Any) -> AsyncOpenAI:
        """The unmodified client of OpenAI."""
        client = AsyncOpenAI(base_url=f"{url or self.url}/v1", **({"api_key": "none", "max_retries": 0} | options))
        self.stack.push_async_callback(client.close)
        return client


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    teacher = ScriptedInference(["models/teacher-mini"], architecture="AXK1ForCausalLM")
    student = ScriptedInference(["models/assistant", "models/robot"])
    messaging = ScriptedMessaging()
    add = messaging_pb2_grpc.add_MessagingServiceServicer_to_server
    mounts = {
        "teacher": teacher.mount(),
        "student": student.mount(),
        "messaging": Mount(messaging, add, "seodang.api.messaging.v1.MessagingService"),
    }
    async with AsyncExitStack() as stack:
        servers = {name: await stack.enter_async_context(MeshServer(name, [mount])) for name, mount in mounts.items()}
        for server in servers.values():
            await server.set_ready()
        made = Mesh(teacher, student, messaging, servers, stack)
        made.url = await made.start()
        yield made


@pytest.fixture
def openai(mesh: Mesh) -> AsyncOpenAI:
    return mesh.openai()


@pytest.fixture
async def http(mesh: Mesh) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=mesh.url, timeout=20) as client:
        yield client


@pytest.fixture
def until() -> Callable[..., Any]:
    """Waits until a condition holds; fails with its name after a deadline."""

    async def wait(condition: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline_s, f"after {timeout_s} s still not: {what}"
            await asyncio.sleep(0.005)

    return wait
