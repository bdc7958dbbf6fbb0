"""The servers behind the gateway, and which of them holds a model."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from grpc_health.v1 import health_pb2

from seodang.api.inference.v1 import inference_pb2, model_pb2
from seodang.base.errors import DeadlineExpired, NotFound, SeodangError, Unavailable
from seodang.client import AsyncClient
from seodang.gateway.failures import ModelNotFound
from seodang.gateway.settings import GatewaySettings

_PREFIX: Final = "models/"
_PAGE: Final = 1000


@dataclass(frozen=True)
class Upstream:
    """A server behind the gateway."""

    name: str
    client: AsyncClient


@dataclass(frozen=True)
class Held:
    """A model and the server that holds it."""

    model: model_pb2.Model
    upstream: Upstream


def resource_name(model: str) -> str:
    """The mesh's name of a model that a client calls ``teacher-mini`` or ``models/teacher-mini``."""
    return model if model.startswith(_PREFIX) else _PREFIX + model


def short_name(name: str) -> str:
    """The name that clients see: without ``models/``."""
    return name.removeprefix(_PREFIX)


class Upstreams:
    """Connections to teacher, student and messaging server, as an async context manager of the running loop."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._timeout_s = settings.lookup_timeout_s
        self.messaging = AsyncClient(settings.messaging_address)
        self.inference = (
            Upstream("teacher", AsyncClient(settings.teacher_address)),
            Upstream("student", AsyncClient(settings.student_address)),
        )
        self._holders: dict[str, Upstream] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async with AsyncExitStack() as stack:
            for client in (self.messaging, *(upstream.client for upstream in self.inference)):
                stack.push_async_callback(client.close)

    async def holder(self, name: str) -> Upstream:
        """The server that holds a model, remembered until ``forget``.

        Raises:
            ModelNotFound: every server answers, and none holds it.
            Unavailable: none that answers holds it, and another does not answer.
        """
        if name not in self._holders:
            self._holders[name] = (await self.find(name)).upstream
        return self._holders[name]

    def forget(self, name: str) -> None:
        """Makes the next ``holder`` ask the servers again."""
        self._holders.pop(name, None)

    async def find(self, name: str) -> Held:
        """One model, as it stands now; raises as ``holder`` does."""
        answers = await asyncio.gather(*(self._model(upstream, name) for upstream in self.inference))
        refusals: list[SeodangError] = []
        for upstream, answer in zip(self.inference, answers, strict=True):
            if isinstance(answer, model_pb2.Model):
                return Held(answer, upstream)
            refusals.append(answer)
        others = [refusal for refusal in refusals if not isinstance(refusal, NotFound)]
        if others:
            raise others[0]
        raise ModelNotFound(f"there is no model {short_name(name)[:120]!r}; GET /v1/models lists those there are")

    async def models(self) -> tuple[list[Held], list[SeodangError]]:
        """The models of all servers that answer, in order of name, and why the others do not."""
        answers = await asyncio.gather(*(self._models(upstream) for upstream in self.inference))
        held = [model for answer in answers if isinstance(answer, list) for model in answer]
        down = [answer for answer in answers if isinstance(answer, SeodangError)]
        return sorted(held, key=lambda entry: entry.model.name), down

    async def health(self) -> Mapping[str, str]:
        """Each inference server as ``serving``, ``not_serving`` or ``down``."""
        states = await asyncio.gather(*(self._health(upstream) for upstream in self.inference))
        return dict(zip((upstream.name for upstream in self.inference), states, strict=True))

    async def _model(self, upstream: Upstream, name: str) -> model_pb2.Model | SeodangError:
        try:
            request = inference_pb2.GetModelRequest(name=name)
            return (await upstream.client.inference.GetModel(request, timeout=self._timeout_s)).model
        except SeodangError as error:
            return _explained(upstream, error)

    async def _models(self, upstream: Upstream) -> list[Held] | SeodangError:
        try:
            return [Held(model, upstream) async for model in self._pages(upstream)]
        except SeodangError as error:
            return _explained(upstream, error)

    async def _pages(self, upstream: Upstream) -> AsyncIterator[model_pb2.Model]:
        token = ""
        while True:
            request = inference_pb2.ListModelsRequest(page_size=_PAGE, page_token=token)
            page = await upstream.client.inference.ListModels(request, timeout=self._timeout_s)
            for model in page.models:
                yield model
            token = page.next_page_token
            if not token:
                return

    async def _health(self, upstream: Upstream) -> str:
        try:
            answer = await upstream.client.health.Check(health_pb2.HealthCheckRequest(), timeout=self._timeout_s)
        except SeodangError:
            return "down"
        return "serving" if answer.status == health_pb2.HealthCheckResponse.SERVING else "not_serving"


def _explained(upstream: Upstream, error: SeodangError) -> SeodangError:
    """The error, with the server's name where the server itself could not speak."""
    if isinstance(error, Unavailable | DeadlineExpired):
        address = upstream.client.address
        return Unavailable(
            f"the {upstream.name} server at {address} does not answer: {error.message}", reason=error.reason
        )
    return error
