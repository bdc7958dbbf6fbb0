"""Sends what is in the outbox: in order and at a measured pace in each channel, and never twice without saying so."""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import httpx

from seodang.adapters.messaging.bucket import TokenBucket
from seodang.adapters.messaging.channel import Channel
from seodang.adapters.messaging.domain import Delivery, Outgoing, Platform, State
from seodang.adapters.messaging.repository import MessageRepository
from seodang.adapters.messaging.settings import MessagingSettings

log = logging.getLogger(__name__)

_TICK_S: Final = 0.5
_FIRST_BACKOFF_S: Final = 1.0
_LONGEST_BACKOFF_S: Final = 60.0
_SENDS_AT_ONCE: Final = 16


class Sender:
    """Posts replies, lane by lane. ``run`` it in a task; ``stop`` lets it finish what is on its way."""

    def __init__(
        self,
        repository: MessageRepository,
        channels: Mapping[Platform, Channel],
        http: httpx.AsyncClient,
        settings: MessagingSettings,
    ) -> None:
        self._repository = repository
        self._channels = channels
        self._http = http
        self._settings = settings
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._slots = asyncio.Semaphore(_SENDS_AT_ONCE)
        self._lanes: set[str] = set()
        self._buckets: dict[str, TokenBucket] = {}

    def wake(self) -> None:
        """There is something new to send."""
        self._wake.set()

    def stop(self) -> None:
        """Begins nothing new; ``run`` returns once what is on its way is noted."""
        self._stopping.set()
        self._wake.set()

    async def run(self) -> None:
        """Sends until it is told to stop."""
        interrupted = await self._repository.find_interrupted()
        if interrupted:
            log.warning("%d replies may or may not have been sent: ListReplies shows them as UNCERTAIN", interrupted)
        async with asyncio.TaskGroup() as group:
            while not self._stopping.is_set():
                self._wake.clear()
                await self._repository.expire(time.time())
                self._forget_full_buckets()
                for lane in await self._repository.lanes():
                    if lane not in self._lanes:
                        self._lanes.add(lane)
                        group.create_task(self._drain(lane))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _TICK_S)

    async def _drain(self, lane: str) -> None:
        """Sends the replies of one lane, one after the other, until none waits."""
        bucket = self._buckets.setdefault(
            lane, TokenBucket(self._settings.channel_sends_per_s, self._settings.channel_burst)
        )
        try:
            while outgoing := await self._repository.next_in(lane):
                await self._pause(outgoing.due_s - time.time())
                await self._pause(bucket.take(time.monotonic()))
                if self._stopping.is_set():
                    return
                async with self._slots:
                    delivery = await self._send(outgoing)
                if delivery.retry_after_s:
                    bucket.pause(time.monotonic(), delivery.retry_after_s)
        finally:
            self._lanes.discard(lane)
            self._wake.set()

    async def _send(self, outgoing: Outgoing) -> Delivery:
        outgoing = await self._repository.begin_sending(outgoing)
        delivery = await self._attempt(outgoing)
        if delivery.state is State.WAITING and outgoing.attempts >= self._settings.send_attempts:
            delivery = Delivery(State.FAILED, f"after {outgoing.attempts} attempts: {delivery.error}")
        backoff_s = min(_FIRST_BACKOFF_S * 2.0 ** (outgoing.attempts - 1), _LONGEST_BACKOFF_S)
        wait_s = backoff_s if delivery.retry_after_s is None else delivery.retry_after_s
        await self._repository.end_sending(outgoing, delivery, time.time() + wait_s)
        if delivery.state is not State.SENT:
            log.warning("replies/%s is %s: %s", outgoing.uid, delivery.state, delivery.error)
        return delivery

    async def _attempt(self, outgoing: Outgoing) -> Delivery:
        channel = self._channels.get(outgoing.platform)
        if channel is None:
            return Delivery(State.FAILED, f"{outgoing.platform} is no longer configured")
        call = channel.call(outgoing)
        try:
            async with asyncio.timeout(2 * self._settings.send_timeout_s):
                response = await self._http.post(call.url, content=call.body, headers=dict(call.headers))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Delivery(State.WAITING, f"{type(error).__name__}: the messenger was not reached")
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            return Delivery(State.FAILED, f"{type(error).__name__}: the address is no URL to post to")
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as error:
            return Delivery(State.UNCERTAIN, f"{type(error).__name__}: no answer came, it may or may not have arrived")
        return channel.judge(response)

    async def _pause(self, for_s: float) -> None:
        if for_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), for_s)

    def _forget_full_buckets(self) -> None:
        now_s = time.monotonic()
        for lane in [
            lane for lane, bucket in self._buckets.items() if lane not in self._lanes and bucket.is_full(now_s)
        ]:
            del self._buckets[lane]
