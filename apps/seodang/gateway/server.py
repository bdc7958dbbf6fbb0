"""The gateway as a process: uvicorn on a socket of ours, stopped by SIGTERM or SIGINT."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from seodang.base.errors import Conflict
from seodang.capture import recording
from seodang.gateway.app import create_app
from seodang.gateway.settings import GatewaySettings
from seodang.gateway.upstreams import Upstreams

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """uvicorn that tells when it serves, without its signal handlers: they end the process by the signal itself."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def http_server(app: FastAPI, settings: GatewaySettings) -> AsyncIterator[str]:
    """Serves ``app`` while the context lasts; yields host:port. Leaving waits ``grace_s`` for answers on their way.

    Raises:
        Conflict: the port is taken.
    """
    listener = _listen(settings.host, settings.port)
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=int(settings.grace_s) or 1
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.ready.wait()
        yield f"{settings.host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def serve(settings: GatewaySettings) -> None:
    """Serves until SIGTERM or SIGINT."""
    settings.check_exposure()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        Upstreams(settings) as upstreams,
        recording(settings.capture_address) as recorder,
        http_server(create_app(settings, upstreams, recorder), settings) as address,
    ):
        log.info("gateway serves on http://%s/v1", address)
        await stop.wait()
        log.info("gateway drains")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Conflict(f"gateway cannot listen on {host}:{port} ({error.strerror}): choose another port") from error
