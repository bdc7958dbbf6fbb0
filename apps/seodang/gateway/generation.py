"""Generations of the mesh, from the request to the last event, whoever asked for them and in whatever form."""

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, TypeAlias

from starlette.requests import Request

from seodang.api.inference.v1 import generate_pb2, inference_pb2
from seodang.base.errors import InternalFault, InvalidInput, NotFound, Unavailable
from seodang.gateway.metrics import Metrics
from seodang.gateway.upstreams import Upstreams
from seodang.rpc import from_fault

TIMEOUT_HEADER: Final = "x-request-timeout-s"
OnAnswer: TypeAlias = Callable[[str, str], None]
"""Told the model that answered and its whole answer."""


@dataclass(frozen=True)
class Generation:
    """A generation that its server accepted."""

    accepted: generate_pb2.Accepted
    events: AsyncIterator[generate_pb2.Delta | generate_pb2.Finished]
    """Deltas, then exactly one Finished; a failure on the way raises from the error tree."""


@dataclass(frozen=True)
class Whole:
    """A generation that has ended."""

    accepted: generate_pb2.Accepted
    text: str
    tokens: list[generate_pb2.GeneratedToken]
    finished: generate_pb2.Finished


class Inference:
    """Sends requests to whichever server holds their model."""

    def __init__(self, upstreams: Upstreams, metrics: Metrics, timeout_s: float) -> None:
        self._upstreams = upstreams
        self._timeout_s = timeout_s
        self.metrics = metrics

    def timeout_s(self, request: Request) -> float:
        """How long a request may take: what its header says, within what the gateway allows.

        Raises:
            InvalidInput: the header is not a positive number.
        """
        given = request.headers.get(TIMEOUT_HEADER)
        if given is None:
            return self._timeout_s
        try:
            wanted_s = float(given)
        except ValueError:
            wanted_s = math.nan
        if not 0 < wanted_s < math.inf:
            raise InvalidInput(f"{TIMEOUT_HEADER}={given!r} must be a number of seconds above 0", field=TIMEOUT_HEADER)
        return min(wanted_s, self._timeout_s)

    @asynccontextmanager
    async def generate(
        self, request: generate_pb2.GenerateRequest, timeout_s: float, on_answer: OnAnswer | None = None
    ) -> AsyncIterator[Generation]:
        """Yields once the server has accepted; leaving cancels what still goes on.

        Args:
            on_answer: called once the whole answer is there.

        Raises:
            SeodangError: the server refused; after acceptance, the events raise.
        """
        upstream = await self._upstreams.holder(request.model)
        began_s = time.perf_counter()
        call = upstream.client.inference.Generate(request, timeout=timeout_s)
        with self.metrics.generations.track_inprogress():
            try:
                events = aiter(call)
                accepted = await self._accepted(request.model, events)
                watched = self._watched(accepted.model, events, began_s)
                yield Generation(accepted, watched if on_answer is None else _told(accepted.model, watched, on_answer))
            finally:
                call.cancel()

    async def generate_whole(
        self, request: generate_pb2.GenerateRequest, timeout_s: float, on_answer: OnAnswer | None = None
    ) -> Whole:
        """Generates and waits for the end; raises as ``generate`` and its events do."""
        text: list[str] = []
        tokens: list[generate_pb2.GeneratedToken] = []
        async with self.generate(request, timeout_s, on_answer) as generation:
            async for event in generation.events:
                if isinstance(event, generate_pb2.Finished):
                    return Whole(generation.accepted, "".join(text), tokens, event)
                text.append(event.text)
                tokens.extend(event.tokens)
        raise _cut_short()

    async def embed(self, request: inference_pb2.EmbedRequest, timeout_s: float) -> inference_pb2.EmbedResponse:
        """Vectors from whichever server holds the model."""
        upstream = await self._upstreams.holder(request.model)
        try:
            answer = await upstream.client.inference.Embed(request, timeout=timeout_s)
        except NotFound:
            self._upstreams.forget(request.model)
            raise
        self.metrics.count_usage(request.model, answer.usage)
        return answer

    async def _accepted(
        self, model: str, events: AsyncIterator[generate_pb2.GenerateResponse]
    ) -> generate_pb2.Accepted:
        try:
            first = await anext(events, None)
        except (NotFound, Unavailable):
            self._upstreams.forget(model)
            raise
        if first is None or not first.HasField("accepted"):
            raise InternalFault(f"a generation of {model} began without being accepted: report it")
        return first.accepted

    async def _watched(
        self, model: str, events: AsyncIterator[generate_pb2.GenerateResponse], began_s: float
    ) -> AsyncIterator[generate_pb2.Delta | generate_pb2.Finished]:
        waiting = True
        async for event in events:
            match event.WhichOneof("event"):
                case "delta":
                    if waiting:
                        self.metrics.first_token_seconds.labels(model).observe(time.perf_counter() - began_s)
                        waiting = False
                    yield event.delta
                case "finished":
                    if event.finished.reason == generate_pb2.FINISH_REASON_CANCELLED:
                        raise Unavailable(f"the server cancelled this generation of {model}: try again")
                    self.metrics.count_usage(model, event.finished.usage)
                    yield event.finished
                    return
                case "fault":
                    raise from_fault(event.fault)
                case other:
                    raise InternalFault(f"a generation of {model} sent {other!r} among its deltas: report it")
        raise _cut_short()


async def _told(
    model: str, events: AsyncIterator[generate_pb2.Delta | generate_pb2.Finished], on_answer: OnAnswer
) -> AsyncIterator[generate_pb2.Delta | generate_pb2.Finished]:
    answer: list[str] = []
    async for event in events:
        if isinstance(event, generate_pb2.Delta):
            answer.append(event.text)
        else:
            on_answer(model, "".join(answer))
        yield event


def _cut_short() -> Unavailable:
    return Unavailable("the generation broke off without an end: try again", reason="STREAM_BROKEN")
