"""Generate: one request from its lease of a model to its last event."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from seodang.api.inference.v1 import generate_pb2
from seodang.inference.directory import ModelDirectory, ServedModel
from seodang.inference.generation import to_generate, to_response
from seodang.inference.mailbox import Event, at_readers_pace
from seodang.inference.requests import RunningRequests
from seodang.worker import EngineHost
from seodang.worker.messages import Accepted, Generate


@dataclass(frozen=True)
class InferenceLimits:
    """What one caller may hold."""

    unread_tokens: int = 2048
    """Generated tokens that may wait for a slow reader before the generation is ended."""


class Completions:
    """Streams completions; leaving a stream early cancels it in the engine and frees its slot."""

    def __init__(self, host: EngineHost, directory: ModelDirectory, limits: InferenceLimits) -> None:
        self._host = host
        self._directory = directory
        self._limits = limits
        self._running = RunningRequests()

    async def stream(
        self, request: generate_pb2.GenerateRequest, request_id: str
    ) -> AsyncGenerator[generate_pb2.GenerateResponse, None]:
        """Accepted, deltas, finished; raises whatever refuses or breaks the request."""
        async with self._directory.lease(request.model) as model:
            command = to_generate(request, model)
            with self._running.claim(request_id):
                events = at_readers_pace(self._engine_events(command, model), self._limits.unread_tokens)
                async with aclosing(events):
                    async for event in events:
                        yield to_response(event, request_id, model)

    async def _engine_events(self, command: Generate, model: ServedModel) -> AsyncGenerator[Event, None]:
        """Runs at the engine's pace, so the request counts while the engine works on it, however slow its reader."""
        with model.activity.request() as begin:
            async with aclosing(self._host.generate(command)) as events:
                async for event in events:
                    if not isinstance(event, Accepted):
                        begin()
                    yield event
