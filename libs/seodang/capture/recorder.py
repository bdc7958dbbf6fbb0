"""Sends what may be kept to the capture service, behind those who answer: it never waits, and it never fails them.

Exchanges wait in memory, at most so many bytes of them, longer when the service is away. When there is no room,
new ones are dropped. Whatever becomes of them is counted.
"""

import asyncio
import logging
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Final, Self, TypeAlias

from seodang.api.capture.v1 import capture_pb2
from seodang.api.inference.v1 import generate_pb2
from seodang.base.errors import DeadlineExpired, Retriable, SeodangError
from seodang.client import AsyncClient

log = logging.getLogger(__name__)

_FIRST_BACKOFF_S: Final = 0.5
_LONGEST_BACKOFF_S: Final = 30.0

Keep: TypeAlias = Callable[[str, generate_pb2.GenerateRequest, str, str], None]
"""``keep(subject, request, model, answer)``: the person agreed to this exchange being kept."""
OnAnswer: TypeAlias = Callable[[generate_pb2.GenerateRequest, str, str], None]
"""The same, for whoever does not know the person."""


class Outcome(StrEnum):
    """What became of an exchange that was offered."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    REFUSED = "refused"
    """The tenant's policy, or the person, does not allow it."""
    UNFIT = "unfit"
    """No text, tools, or too long: no job could learn from it."""
    FULL = "full"
    """The service has as much of the tenant as it keeps."""
    DROPPED = "dropped"
    """There was no more room here, or the service could not be reached until the end."""
    FAILED = "failed"
    """The service refused it for a fault of ours; the log says which."""


@dataclass(frozen=True)
class RecorderConfig:
    """How much may wait, and how it is sent."""

    waiting_bytes: int = 8 * 2**20
    longest_bytes: int = 64 * 2**10
    """A longer exchange is never sent."""
    batch: int = 64
    send_timeout_s: float = 10.0
    flush_s: float = 3.0
    """How long what waits may still take to be sent when it is over."""


class Recorder:
    """Offers go in, batches go out. Use it as an async context manager: leaving it sends what still waits."""

    def __init__(self, client: AsyncClient, config: RecorderConfig | None = None) -> None:
        self._client = client
        self._config = config or RecorderConfig()
        self._waiting: deque[capture_pb2.Interaction] = deque()
        self._waiting_bytes = 0
        self._filled = asyncio.Event()
        self._backoff_s = _FIRST_BACKOFF_S
        self.outcomes: Counter[Outcome] = Counter()

    async def __aenter__(self) -> Self:
        self._sending = asyncio.create_task(self._send_all())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.flush_s):
                while self._waiting and not self._sending.done():
                    self._backoff_s = 0.0
                    await asyncio.sleep(0.02)
        self._sending.cancel()
        (ended,) = await asyncio.gather(self._sending, return_exceptions=True)
        if isinstance(ended, Exception):
            log.error("captured exchanges were no longer sent, for a fault of ours", exc_info=ended)
        self.outcomes[Outcome.DROPPED] += len(self._waiting)
        if self.outcomes:
            told = ", ".join(f"{count} {outcome}" for outcome, count in self.outcomes.items() if count)
            log.info("captured exchanges: %s", told)

    def offer(self, tenant: str, subject: str, request: generate_pb2.GenerateRequest, model: str, answer: str) -> None:
        """Takes an exchange that the person agreed to; it is sent later, or dropped.

        Args:
            tenant: whose policy decides whether it is kept.
            subject: pseudonym of the person; empty if there is none.
            model: who answered, by the name that the server resolved.
        """
        chat = request.prompt.chat
        if not chat.messages or chat.tools or not answer.strip():
            self.outcomes[Outcome.UNFIT] += 1
            return
        interaction = capture_pb2.Interaction(
            request_id=request.request_id or uuid.uuid4().hex,
            tenant=tenant,
            subject=subject,
            dataset=dataset_of(request.model),
            prompt=chat,
            answer=answer,
            model=model,
            consented=True,
        )
        interaction.time.GetCurrentTime()
        self._put(interaction)

    def _put(self, interaction: capture_pb2.Interaction) -> None:
        size = interaction.ByteSize()
        if size > self._config.longest_bytes:
            self.outcomes[Outcome.UNFIT] += 1
        elif self._waiting_bytes + size > self._config.waiting_bytes:
            if not self.outcomes[Outcome.DROPPED]:
                log.warning("no more room for captured exchanges: further ones are dropped until some were sent")
            self.outcomes[Outcome.DROPPED] += 1
        else:
            self._waiting.append(interaction)
            self._waiting_bytes += size
            self._filled.set()

    async def _send_all(self) -> None:
        while True:
            await self._filled.wait()
            batch = [self._waiting[place] for place in range(min(self._config.batch, len(self._waiting)))]
            try:
                self._count(await self._send(batch))
                self._backoff_s = _FIRST_BACKOFF_S
            except (Retriable, DeadlineExpired) as error:
                # Sending again what arrived all the same is harmless: the service knows it by its request_id.
                if self._backoff_s == _FIRST_BACKOFF_S:
                    log.warning("captured exchanges wait, the service at %s is away: %s", self._client.address, error)
                await self._pause()
                continue
            except SeodangError as error:
                log.error("%d captured exchanges were refused: %s", len(batch), error.message)
                self.outcomes[Outcome.FAILED] += len(batch)
            for interaction in batch:
                self._waiting.popleft()
                self._waiting_bytes -= interaction.ByteSize()
            if not self._waiting:
                self._filled.clear()

    async def _send(self, batch: list[capture_pb2.Interaction]) -> capture_pb2.AppendInteractionsResponse:
        def requests() -> Iterator[capture_pb2.AppendInteractionsRequest]:
            return (capture_pb2.AppendInteractionsRequest(interaction=each) for each in batch)

        return await self._client.capture.AppendInteractions(requests(), timeout=self._config.send_timeout_s)

    async def _pause(self) -> None:
        """In small steps, for whoever leaves shortens it."""
        waited_s = 0.0
        while waited_s < self._backoff_s:
            await asyncio.sleep(0.05)
            waited_s += 0.05
        await asyncio.sleep(0.05)
        self._backoff_s = min(max(2 * self._backoff_s, _FIRST_BACKOFF_S), _LONGEST_BACKOFF_S)

    def _count(self, answer: capture_pb2.AppendInteractionsResponse) -> None:
        self.outcomes[Outcome.STORED] += answer.stored
        self.outcomes[Outcome.DUPLICATE] += answer.duplicates
        self.outcomes[Outcome.REFUSED] += answer.dropped_by_policy
        self.outcomes[Outcome.UNFIT] += answer.dropped_unfit
        self.outcomes[Outcome.FULL] += answer.dropped_full


def dataset_of(model: str) -> str:
    """The dataset of a model's traffic: that of ``models/robot@production`` is ``datasets/robot``."""
    return f"datasets/{model.removeprefix('models/').partition('@')[0].partition('/')[0]}"


def keep_nothing(subject: str, request: generate_pb2.GenerateRequest, model: str, answer: str) -> None:
    """The ``Keep`` of a service that captures nothing."""


@asynccontextmanager
async def recording(address: str) -> AsyncIterator[Recorder | None]:
    """A recorder for the capture service at host:port; None without an address."""
    if not address:
        yield None
        return
    async with AsyncClient(address) as client, Recorder(client) as recorder:
        yield recorder


@asynccontextmanager
async def keeping(address: str, tenant: str) -> AsyncIterator[Keep]:
    """A ``Keep`` for all traffic of a service, which is one tenant's. Without a tenant nothing is kept or connected to.

    Args:
        address: host:port of the capture service.
    """
    async with recording(address if tenant else "") as recorder:
        if recorder is None:
            yield keep_nothing
            return

        def keep(subject: str, request: generate_pb2.GenerateRequest, model: str, answer: str) -> None:
            recorder.offer(tenant, subject, request, model, answer)

        yield keep
