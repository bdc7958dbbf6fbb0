"""Bytes that are no message of a method's type, in a single request and in the middle of a stream of them."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from seodang.api.robotics.v1 import robotics_pb2, robotics_pb2_grpc
from seodang.rpc import MeshServer, Mount, open_async_channel

SERVICE = "seodang.api.robotics.v1.RoboticsService"
NOT_A_MESSAGE = b"\x0a\xff\xff\xff\xff\x0f"


class Counting(robotics_pb2_grpc.RoboticsServiceServicer):
    """Answers each request of a stream with an empty response."""

    async def Drive(
        self, requests: AsyncIterator[robotics_pb2.DriveRequest], context: Any
    ) -> AsyncIterator[robotics_pb2.DriveResponse]:
        async for _ in requests:
            yield robotics_pb2.DriveResponse()

    async def EmergencyStop(
        self, request: robotics_pb2.EmergencyStopRequest, context: Any
    ) -> robotics_pb2.EmergencyStopResponse:
        return robotics_pb2.EmergencyStopResponse()


@pytest.fixture
async def channel() -> AsyncIterator[grpc.aio.Channel]:
    mount = Mount(Counting(), robotics_pb2_grpc.add_RoboticsServiceServicer_to_server, SERVICE)
    async with MeshServer("robotics", [mount]) as server, open_async_channel(server.address) as channel:
        yield channel


async def test_a_request_that_cannot_be_read_is_bad_input(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(f"/{SERVICE}/EmergencyStop", request_serializer=bytes, response_deserializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(NOT_A_MESSAGE, timeout=10)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "cannot be read" in (caught.value.details() or "")


async def test_a_stream_ends_at_what_cannot_be_read(channel: grpc.aio.Channel) -> None:
    call = channel.stream_stream(f"/{SERVICE}/Drive", request_serializer=bytes, response_deserializer=bytes)
    stream = call(iter([b"", b"", NOT_A_MESSAGE, b""]), timeout=10)
    assert [await stream.read(), await stream.read()] == [b"", b""]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stream.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
