"""ControlService, which every server of the mesh offers: who it is, how busy it is, and how to drain it."""

import asyncio
import resource
from collections.abc import Awaitable, Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from google.protobuf import timestamp_pb2
from grpc import aio

from seodang.api.serving.v1 import control_pb2, control_pb2_grpc
from seodang.rpc.calls import CallLedger

CONTRACT_REVISION: Final = 2


class ControlServicer(control_pb2_grpc.ControlServiceServicer):
    """Answers from the server's ledger."""

    def __init__(
        self, name: str, ledger: CallLedger, services: Sequence[str], drain: Callable[[], Awaitable[int]]
    ) -> None:
        self._name = name
        self._ledger = ledger
        self._services = services
        self._drain = drain
        self._start_time = timestamp_pb2.Timestamp()
        self._start_time.GetCurrentTime()

    async def GetServerInfo(
        self, request: control_pb2.GetServerInfoRequest, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.GetServerInfoResponse:
        """Who the server is."""
        return control_pb2.GetServerInfoResponse(
            service=self._name,
            version=version("seodang"),
            contract_revision=CONTRACT_REVISION,
            start_time=self._start_time,
            services=self._services,
        )

    async def GetLoad(
        self, request: control_pb2.GetLoadRequest, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.GetLoadResponse:
        """How busy the server is."""
        return control_pb2.GetLoadResponse(
            calls_in_flight=self._ledger.in_flight,
            calls_started=self._ledger.started,
            calls_failed=self._ledger.failed,
            resident_bytes=await asyncio.to_thread(_resident_bytes),
            draining=self._ledger.draining,
        )

    async def Drain(
        self, request: control_pb2.DrainRequest, context: aio.ServicerContext[Any, Any]
    ) -> control_pb2.DrainResponse:
        """Stops accepting and waits for the calls in flight."""
        return control_pb2.DrainResponse(finished_calls=await self._drain())


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
