"""Typed clients of the mesh for threads and for event loops. They need grpc and protobuf, never torch."""

from types import TracebackType
from typing import Any, Self

import grpc
from grpc import aio
from grpc_health.v1.health_pb2_grpc import HealthStub

from seodang.api.capture.v1.capture_pb2_grpc import CaptureServiceStub
from seodang.api.distill.v1.distill_pb2_grpc import DistillationServiceStub
from seodang.api.inference.v1.inference_pb2_grpc import InferenceServiceStub
from seodang.api.messaging.v1.messaging_pb2_grpc import MessagingServiceStub
from seodang.api.registry.v1.registry_pb2_grpc import RegistryServiceStub
from seodang.api.robotics.v1.robotics_pb2_grpc import RoboticsServiceStub
from seodang.api.search.v1.search_pb2_grpc import SearchServiceStub
from seodang.api.serving.v1.control_pb2_grpc import ControlServiceStub
from seodang.api.serving.v1.placement_pb2_grpc import PlacementServiceStub
from seodang.api.voice.v1.voice_pb2_grpc import VoiceServiceStub
from seodang.client.stubs import guarded
from seodang.rpc import ConnectionPolicy, open_async_channel, open_channel


class Client:
    """One server of the mesh, for threads.

    Each attribute is the generated stub of one service, so a call is ``client.inference.GetModel(request)``. A call
    without ``timeout=`` gets a default deadline; a failed call raises from ``seodang.base.errors``.

    Args:
        address: host:port.
        policy: limits, keepalive and retries; the default is the mesh's own.
    """

    def __init__(self, address: str, policy: ConnectionPolicy | None = None) -> None:
        self.address = address
        self._channel: grpc.Channel = open_channel(address, policy)
        self.inference = guarded(InferenceServiceStub(self._channel))
        self.placement = guarded(PlacementServiceStub(self._channel))
        self.control = guarded(ControlServiceStub(self._channel))
        self.health: Any = guarded(HealthStub(self._channel))
        self.distillation = guarded(DistillationServiceStub(self._channel))
        self.registry = guarded(RegistryServiceStub(self._channel))
        self.capture = guarded(CaptureServiceStub(self._channel))
        self.voice = guarded(VoiceServiceStub(self._channel))
        self.search = guarded(SearchServiceStub(self._channel))
        self.messaging = guarded(MessagingServiceStub(self._channel))
        self.robotics = guarded(RoboticsServiceStub(self._channel))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends calls in flight and closes the connection."""
        self._channel.close()


class AsyncClient:
    """One server of the mesh, for the running event loop; the twin of ``Client``.

    Unary calls are awaited, streams are iterated with ``async for``; leaving such a loop early cancels the call.
    """

    def __init__(self, address: str, policy: ConnectionPolicy | None = None) -> None:
        self.address = address
        self._channel: aio.Channel = open_async_channel(address, policy)
        self.inference = guarded(InferenceServiceStub(self._channel))
        self.placement = guarded(PlacementServiceStub(self._channel))
        self.control = guarded(ControlServiceStub(self._channel))
        self.health: Any = guarded(HealthStub(self._channel))
        self.distillation = guarded(DistillationServiceStub(self._channel))
        self.registry = guarded(RegistryServiceStub(self._channel))
        self.capture = guarded(CaptureServiceStub(self._channel))
        self.voice = guarded(VoiceServiceStub(self._channel))
        self.search = guarded(SearchServiceStub(self._channel))
        self.messaging = guarded(MessagingServiceStub(self._channel))
        self.robotics = guarded(RoboticsServiceStub(self._channel))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends calls in flight and closes the connection."""
        await self._channel.close()
