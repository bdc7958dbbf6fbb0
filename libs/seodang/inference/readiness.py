"""When a server of models counts as ready: its ranks are up, and each model has completed a real token since then."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from seodang.base.errors import NotFound, Retriable
from seodang.rpc import MeshServer
from seodang.worker import EngineHost

log = logging.getLogger(__name__)

POLL_S: Final = 0.1


async def serve_when_ready(server: MeshServer, host: EngineHost, load: Callable[[], Awaitable[None]]) -> None:
    """Loads, serves until the process is told to stop, and keeps the server's health true all the while.

    Args:
        load: brings in the models that the server begins with; its error ends the server.
    """
    serving = asyncio.create_task(server.serve_until_signalled())
    keeping = asyncio.create_task(_load_and_watch(server, host, load))
    try:
        await asyncio.wait((serving, keeping), return_when=asyncio.FIRST_COMPLETED)
        if keeping.done():
            keeping.result()
    finally:
        serving.cancel()
        keeping.cancel()
        await asyncio.wait((serving, keeping))


async def _load_and_watch(server: MeshServer, host: EngineHost, load: Callable[[], Awaitable[None]]) -> None:
    await load()
    proven_restarts: int | None = None
    while True:
        health = host.health()
        if proven_restarts is None:
            if health.serves and await _all_complete(host):
                proven_restarts = health.restarts
                await server.set_ready()
                log.info("ready: %d models have completed a token", len(host.models()))
        elif not health.serves or health.restarts != proven_restarts:
            proven_restarts = None
            await server.set_ready(False)
            log.warning("not ready: %s", "; ".join(health.lost.values()) or f"the ranks are down ({health.last_fault})")
        await asyncio.sleep(POLL_S)


async def _all_complete(host: EngineHost) -> bool:
    try:
        for info in host.models():
            if info.model_id not in host.health().lost:  # the others need not wait for it
                await host.probe(info.model_id)
    except (Retriable, NotFound) as error:
        log.warning("a probe was not answered: %s", error.message)
        return False
    return True
