"""The one way to start a server of the mesh."""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from grpc import aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from seodang.api.serving.v1 import control_pb2, control_pb2_grpc
from seodang.base.errors import Conflict
from seodang.rpc.calls import CallInterceptor, CallLedger
from seodang.rpc.control import ControlServicer
from seodang.rpc.policy import ConnectionPolicy

log = logging.getLogger(__name__)

_CONTROL = control_pb2.DESCRIPTOR.services_by_name["ControlService"].full_name


@dataclass(frozen=True)
class Mount:
    """A servicer, the generated function that adds it, and the full name of its service."""

    servicer: Any
    add: Callable[[Any, aio.Server], None]
    service: str


@dataclass(frozen=True)
class ServerConfig:
    """Where a server listens and how it stops."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free port; ``MeshServer.port`` tells which."""
    grace_s: float = 20.0
    """How long calls in flight may go on once the server is told to stop."""
    policy: ConnectionPolicy = field(default_factory=ConnectionPolicy)


class MeshServer:
    """A gRPC server with health, reflection, control, guarded calls and a graceful end.

    Use it as an async context manager: entering binds and serves, leaving drains and stops. Health reports
    NOT_SERVING until ``set_ready`` is called, so that a balancer sends nothing before there is something to answer.

    Raises:
        Conflict: the port is taken.
    """

    def __init__(self, name: str, mounts: Sequence[Mount], config: ServerConfig | None = None) -> None:
        self.name = name
        self.config = config or ServerConfig()
        self.ledger = CallLedger()
        self.port = 0
        self._mounts = mounts
        self._health = health.aio.HealthServicer()
        self._server = aio.server(
            interceptors=[CallInterceptor(self.ledger)], options=self.config.policy.server_options()
        )

    @property
    def address(self) -> str:
        """host:port that clients of this machine reach the server by."""
        return f"{self.config.host}:{self.port}"

    async def __aenter__(self) -> Self:
        names = [mount.service for mount in self._mounts]
        for mount in self._mounts:
            mount.add(mount.servicer, self._server)
        control = ControlServicer(self.name, self.ledger, [*names, _CONTROL], self.drain)
        control_pb2_grpc.add_ControlServiceServicer_to_server(control, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*names, _CONTROL, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        wanted = f"{self.config.host}:{self.config.port}"
        try:
            self.port = self._server.add_insecure_port(wanted)
        except RuntimeError as error:
            raise Conflict(f"{self.name} cannot listen on {wanted}: is the port taken? choose another one") from error
        await self.set_ready(False)  # the health servicer itself would begin with SERVING
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()
        await self._server.stop(0)

    async def set_ready(self, ready: bool = True) -> None:
        """Reports the server and each of its services as serving, or not."""
        state = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        for service in ("", *(mount.service for mount in self._mounts)):
            await self._health.set(service, state)

    async def drain(self) -> int:
        """Refuses new calls and waits, at most ``grace_s``, for those in flight; returns how many finished."""
        await self._health.enter_graceful_shutdown()
        self.ledger.draining = True
        waiting = self.ledger.in_flight
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.ledger.idle.wait(), self.config.grace_s)
        if self.ledger.in_flight:
            log.warning(
                "%s stops with %d calls in flight after %g s", self.name, self.ledger.in_flight, self.config.grace_s
            )
        return waiting - self.ledger.in_flight

    async def serve_until_signalled(self) -> None:
        """Serves until SIGTERM or SIGINT; leaving the context then drains."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        log.info("%s serves on %s", self.name, self.address)
        await stop.wait()
        log.info("%s drains", self.name)
