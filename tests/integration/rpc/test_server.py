"""The one way to start a server, met through real connections."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from seodang.api.inference.v1 import generate_pb2, inference_pb2, inference_pb2_grpc, score_pb2
from seodang.api.serving.v1 import control_pb2
from seodang.base import errors
from seodang.client import AsyncClient, Client
from seodang.rpc import MeshServer, Mount, ServerConfig, open_async_channel

SERVICE = "seodang.api.inference.v1.InferenceService"

TREE = [
    errors.InvalidInput("temperature=-1: must be 0 to 10", field="sampling.temperature"),
    errors.NotFound("no model models/x", metadata={"model": "models/x"}),
    errors.AlreadyExists("request r1 runs already"),
    errors.Conflict("the job has ended"),
    errors.Superseded("the alias has moved"),
    errors.Exhausted("the queue is full", retry_after_s=2.5),
    errors.Unavailable("ranks are restarting", retry_after_s=0.25),
    errors.DeadlineExpired("too late"),
    errors.PermissionDenied("not yours"),
    errors.Unauthenticated("who are you?"),
    errors.Unsupported("no embeddings here", reason="NO_EMBEDDINGS"),
    errors.InternalFault("our bug"),
]


class Scripted(inference_pb2_grpc.InferenceServiceServicer):
    """Does what the test tells it to."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.release = asyncio.Event()
        self.calls = 0

    async def GetModel(self, request: inference_pb2.GetModelRequest, context: Any) -> inference_pb2.GetModelResponse:
        self.calls += 1
        if self.error:
            raise self.error
        return inference_pb2.GetModelResponse()

    async def Generate(
        self, request: generate_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[generate_pb2.GenerateResponse]:
        self.calls += 1
        yield generate_pb2.GenerateResponse(accepted=generate_pb2.Accepted(request_id="r"))
        await self.release.wait()
        if self.error:
            raise self.error
        yield generate_pb2.GenerateResponse(finished=generate_pb2.Finished())


@pytest.fixture
async def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
async def start(scripted: Scripted) -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def begin(config: ServerConfig | None = None) -> MeshServer:
            mount = Mount(scripted, inference_pb2_grpc.add_InferenceServiceServicer_to_server, SERVICE)
            server = await stack.enter_async_context(MeshServer("teacher", [mount], config or ServerConfig(grace_s=5)))
            await server.set_ready()
            return server

        yield begin


async def test_a_call_without_a_deadline_is_refused(start: Any) -> None:
    server = await start()
    async with open_async_channel(server.address) as channel:
        stub = inference_pb2_grpc.InferenceServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.GetModel(inference_pb2.GetModelRequest())
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "no deadline" in (caught.value.details() or "")


async def test_an_error_that_repeats_a_long_value_arrives_with_its_beginning_and_end(
    start: Any, scripted: Scripted
) -> None:
    server = await start()
    scripted.error = errors.InvalidInput(
        f"name={'가' * 50_000}: send less", field="name", metadata={"name": "나" * 9_000}
    )
    async with AsyncClient(server.address) as client:
        with pytest.raises(errors.InvalidInput) as caught:
            await client.inference.GetModel(inference_pb2.GetModelRequest(name="x"))
    assert caught.value.field == "name"
    assert caught.value.message.startswith("name=가")
    assert caught.value.message.endswith("가: send less")
    assert len(caught.value.message.encode()) < 1_300


@pytest.mark.parametrize("error", TREE, ids=lambda error: type(error).__name__)
async def test_every_error_of_the_tree_arrives_as_itself(
    start: Any, scripted: Scripted, error: errors.SeodangError
) -> None:
    server = await start()
    scripted.error = error
    scripted.release.set()
    async with AsyncClient(server.address) as client:
        with pytest.raises(type(error)) as unary:
            await client.inference.GetModel(inference_pb2.GetModelRequest(), timeout=5)
        with pytest.raises(type(error)) as streamed:
            async for _ in client.inference.Generate(generate_pb2.GenerateRequest(), timeout=5):
                pass
    for caught in (unary.value, streamed.value):
        assert (caught.message, caught.reason, caught.metadata) == (error.message, error.reason, error.metadata)
        assert getattr(caught, "field", None) == getattr(error, "field", None)
        assert getattr(caught, "retry_after_s", None) == getattr(error, "retry_after_s", None)


async def test_a_fault_of_ours_hides_its_text_and_names_a_reference(start: Any, scripted: Scripted) -> None:
    server = await start()
    scripted.error = KeyError("secret detail")
    async with AsyncClient(server.address) as client:
        with pytest.raises(errors.InternalFault) as caught:
            await client.inference.GetModel(inference_pb2.GetModelRequest())
    assert "secret" not in caught.value.message
    assert caught.value.metadata["reference"] in caught.value.message


async def test_an_idempotent_call_is_retried_while_the_server_is_unavailable(start: Any, scripted: Scripted) -> None:
    server = await start()
    scripted.error = errors.Unavailable("not yet", retry_after_s=0.1)
    async with AsyncClient(server.address) as client:
        with pytest.raises(errors.Unavailable):
            await client.inference.GetModel(inference_pb2.GetModelRequest(), timeout=20)
    assert scripted.calls == 4


async def test_a_generation_is_never_retried(start: Any, scripted: Scripted) -> None:
    server = await start()
    server.ledger.draining = True
    scripted.error = errors.Unavailable("not yet")
    async with AsyncClient(server.address) as client:
        with pytest.raises(errors.Unavailable):
            async for _ in client.inference.Generate(generate_pb2.GenerateRequest(), timeout=5):
                pass
    assert server.ledger.failed == 1


async def test_draining_finishes_what_runs_and_refuses_what_comes(start: Any, scripted: Scripted) -> None:
    server = await start()
    async with AsyncClient(server.address) as client:
        running = client.inference.Generate(generate_pb2.GenerateRequest(), timeout=20)
        events = aiter(running)
        assert (await anext(events)).HasField("accepted")
        drained = asyncio.create_task(server.drain())
        await asyncio.wait_for(_until_draining(server), 10)
        with pytest.raises(errors.Unavailable, match="draining"):
            async for _ in client.inference.Generate(generate_pb2.GenerateRequest(), timeout=5):
                pass
        scripted.release.set()
        assert (await anext(events)).HasField("finished")
        assert await drained == 1


async def test_drain_over_rpc_reports_the_calls_it_waited_for(start: Any, scripted: Scripted) -> None:
    server = await start()
    scripted.release.set()
    async with AsyncClient(server.address) as client:
        assert (await client.control.Drain(control_pb2.DrainRequest())).finished_calls == 0
        assert (await client.control.GetLoad(control_pb2.GetLoadRequest())).draining


async def test_health_follows_readiness(start: Any) -> None:
    server = await start()
    async with open_async_channel(server.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        states = [(await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status]
        await server.set_ready(False)
        states.append((await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status)
    assert states == [health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING]


async def test_reflection_lists_every_service(start: Any) -> None:
    server = await start()

    def services() -> list[str]:
        with grpc.insecure_channel(server.address) as channel:
            return list(ProtoReflectionDescriptorDatabase(channel).get_services())

    assert {SERVICE, "seodang.api.serving.v1.ControlService", "grpc.health.v1.Health"} <= set(
        await asyncio.to_thread(services)
    )


async def test_a_message_over_the_limit_is_refused_by_size(start: Any) -> None:
    server = await start()
    request = score_pb2.ScoreRequest(model="x" * (17 * 2**20))
    async with AsyncClient(server.address) as client:
        with pytest.raises(errors.Exhausted, match="larger than max"):
            async for _ in client.inference.Score(request, timeout=10):
                pass


async def test_a_taken_port_is_named(start: Any) -> None:
    server = await start()
    with pytest.raises(errors.Conflict, match=f"127.0.0.1:{server.port}"):
        await start(ServerConfig(port=server.port))


async def test_a_client_for_threads_raises_the_same_tree(start: Any, scripted: Scripted) -> None:
    server = await start()
    scripted.error = errors.NotFound("no model models/x")

    def call() -> None:
        with Client(server.address) as client:
            client.inference.GetModel(inference_pb2.GetModelRequest(name="models/x"))

    with pytest.raises(errors.NotFound, match="models/x"):
        await asyncio.to_thread(call)


async def test_an_address_that_is_no_address_is_refused() -> None:
    with pytest.raises(errors.InvalidInput, match="host:port"):
        AsyncClient("localhost")


async def _until_draining(server: MeshServer) -> None:
    async with AsyncClient(server.address) as client:
        while not (await client.control.GetLoad(control_pb2.GetLoadRequest())).draining:
            pass


SERVER = """
import asyncio
from seodang.base.process import run_process
from seodang.rpc import MeshServer, ServerConfig

async def serve():
    async with MeshServer("empty", [], ServerConfig(grace_s=1)) as server:
        await server.set_ready()
        print(server.port, flush=True)
        await server.serve_until_signalled()
    print("stopped", flush=True)

run_process("empty", serve())
"""


async def test_sigterm_ends_a_server_process_cleanly() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVER, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=os.environ
    )
    assert process.stdout is not None
    port = int(await asyncio.wait_for(process.stdout.readline(), 30))
    async with AsyncClient(f"127.0.0.1:{port}") as client:
        info = await client.control.GetServerInfo(control_pb2.GetServerInfoRequest())
    process.send_signal(signal.SIGTERM)
    rest = await asyncio.wait_for(process.stdout.read(), 30)
    assert (info.service, rest.strip(), await process.wait()) == ("empty", b"stopped", 0)
