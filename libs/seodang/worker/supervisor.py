"""Keeps one group of ranks alive: when any rank dies or hangs, the whole group goes and a new one comes."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from seodang.base.errors import SeodangError, Unavailable
from seodang.worker.health import HostState
from seodang.worker.inbox import Requests
from seodang.worker.ranks import RankGroup
from seodang.worker.settings import HostSettings

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs groups one after the other. Collectives need every rank, so none is replaced alone."""

    def __init__(
        self, settings: HostSettings, requests: Requests, prepare: Callable[[RankGroup], Awaitable[None]]
    ) -> None:
        self.state = HostState.STARTING
        self.restarts = 0
        self.last_fault = ""
        self.current: RankGroup | None = None
        self._settings = settings
        self._requests = requests
        self._prepare = prepare

    def group(self) -> RankGroup:
        """The group, or ``Unavailable`` while there is none that serves."""
        if self.current is None or self.state is not HostState.READY:
            why = f" after a fault: {self.last_fault}" if self.last_fault else ""
            raise Unavailable(f"the engine is {self.state.value}{why}", retry_after_s=self._settings.restart_backoff_s)
        return self.current

    async def run(self, first: "asyncio.Future[None]") -> None:
        """Start groups until cancelled. ``first`` tells how the first start went; if it failed, there is no second."""
        backoff_s = self._settings.restart_backoff_s
        while True:
            try:
                await self._serve(first)
                backoff_s = self._settings.restart_backoff_s  # it came up: the next fault is a new one
            except Exception as error:  # noqa: BLE001 - whatever it was: without a new group nobody is served again
                if not first.done():
                    first.set_exception(error)
                    return
                self.last_fault = error.message if isinstance(error, SeodangError) else repr(error)
            self.restarts += 1
            logger.warning("engine fault: %s; restarting all ranks in %.1f s", self.last_fault, backoff_s)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, self._settings.restart_backoff_max_s)

    async def _serve(self, first: "asyncio.Future[None]") -> None:
        """The life of one group, from its start to its fault."""
        try:
            async with RankGroup(self._settings, self._requests.deliver) as group:
                self.current = group
                fault = asyncio.create_task(group.wait_for_fault())
                preparing = asyncio.ensure_future(self._prepare(group))
                try:
                    await asyncio.wait([fault, preparing], return_when=asyncio.FIRST_COMPLETED)
                    if preparing.done():
                        preparing.result()
                        self.state = HostState.READY
                        if not first.done():
                            first.set_result(None)
                    self.last_fault = await fault
                finally:
                    fault.cancel()
                    self.state = HostState.RESTARTING
                    self.current = None
                    self._requests.fail_all(self._lost())
                    await asyncio.gather(preparing, return_exceptions=True)
        finally:
            self.state = HostState.RESTARTING

    def _lost(self) -> Unavailable:
        why = self.last_fault or "the engine is stopping"
        return Unavailable(
            f"the request was lost: {why}; send it again",
            retry_after_s=self._settings.restart_backoff_s,
            reason="RANKS_LOST",
        )
