"""The host side of an engine: start the ranks, speak with rank 0, watch over all of them."""

import asyncio
import itertools
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from seodang.base.errors import AlreadyExists, DeadlineExpired, NotFound, Retriable, SeodangError
from seodang.worker.health import HostHealth, HostState, ProbeResult
from seodang.worker.inbox import Request, Requests
from seodang.worker.messages import (
    Accepted,
    Credit,
    Decode,
    Decoded,
    Embed,
    Embedded,
    FetchHead,
    Finished,
    Generate,
    HeadChunk,
    Load,
    Loaded,
    LoadOptions,
    LoadProgress,
    ModelInfo,
    Pooling,
    Prompt,
    Render,
    Rendered,
    SamplingParams,
    Score,
    ScoreChunk,
    TokenDelta,
    TokenPrompt,
    Unload,
    Unloaded,
)
from seodang.worker.ranks import RankGroup
from seodang.worker.settings import HostSettings
from seodang.worker.supervisor import Supervisor

logger = logging.getLogger(__name__)
Reply = TypeVar("Reply", Embedded, Rendered, Decoded, Unloaded)
Chunk = TypeVar("Chunk", ScoreChunk, HeadChunk)


class EngineHost:
    """Many models in one group of engine processes, as an async API.

    Every method may raise: ``InvalidInput`` (with the field), ``NotFound`` (model), ``Exhausted`` (full, with the time
    to try again) or ``Unavailable`` (the ranks are restarting; safe to retry). After a restart the host loads its
    models again by itself; requests that were under way have ended with ``Unavailable``.
    """

    def __init__(self, settings: HostSettings) -> None:
        self._requests = Requests()
        self._models: dict[str, tuple[Load, ModelInfo]] = {}
        self._supervisor = Supervisor(settings, self._requests, self._reload)
        self._numbers = itertools.count()

    @classmethod
    @asynccontextmanager
    async def start(cls, settings: HostSettings) -> AsyncIterator["EngineHost"]:
        """Spawn the ranks and wait until all are up; on exit, stop them. ``Unavailable`` if they do not come up."""
        host = cls(settings)
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        supervision = asyncio.create_task(host._supervisor.run(first))
        try:
            await first
            yield host
        finally:
            supervision.cancel()
            await asyncio.gather(supervision, return_exceptions=True)
            host._supervisor.state = HostState.STOPPED

    # ── Models ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def load(
        self,
        model_id: str,
        folder: str,
        *,
        options: LoadOptions | None = None,
        on_progress: Callable[[LoadProgress], None] | None = None,
    ) -> ModelInfo:
        """Load a checkpoint folder; a broken one is ``InvalidInput`` and names file, tensor and remedy.

        Loading the same again returns what is there; ``AlreadyExists`` if the name is taken by another folder or
        other options.
        """
        options = options or LoadOptions()
        if model_id in self._models:
            known, info = self._models[model_id]
            if (known.folder, known.options) == (folder, options):
                return info
            raise AlreadyExists(f"model {model_id!r} is loaded from {known.folder} with other options; unload it first")
        command = Load(request_id=self._number("load"), model_id=model_id, folder=folder, options=options)
        info = await self._load(self._supervisor.group(), command, on_progress)
        self._models[model_id] = (command, info)
        return info

    async def unload(self, model_id: str) -> None:
        """Free a model; its running requests end with ``Unavailable``."""
        self.model(model_id)
        await self._ask(Unload(request_id=self._number("unload"), model_id=model_id), Unloaded)
        self._models.pop(model_id, None)

    def models(self) -> tuple[ModelInfo, ...]:
        """The loaded models."""
        return tuple(info for _, info in self._models.values())

    def model(self, model_id: str) -> ModelInfo:
        """One loaded model, or ``NotFound``."""
        if model_id not in self._models:
            known = ", ".join(sorted(self._models)) or "none"
            raise NotFound(f"model {model_id!r} is not loaded; loaded: {known}", metadata={"model": model_id})
        return self._models[model_id][1]

    # ── Streams ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def generate(self, command: Generate) -> AsyncGenerator[Accepted | TokenDelta | Finished, None]:
        """Stream a completion: one Accepted, deltas, one Finished. Closing the iterator cancels and frees the slot."""
        with self._requests.open(self._supervisor.group(), command) as inbox:
            while True:
                event = await inbox.next()
                assert isinstance(event, Accepted | TokenDelta | Finished)
                yield event
                if isinstance(event, Finished):
                    return

    async def score(self, command: Score) -> AsyncGenerator[ScoreChunk, None]:
        """Stream the distribution at positions, no further ahead of the reader than the window in the settings."""
        async for chunk in self._chunks(command, ScoreChunk):
            yield chunk

    async def fetch_head(self, model_id: str, *, chunk_rows: int = 4096) -> AsyncGenerator[HeadChunk, None]:
        """Stream the output head, that turns hidden states into logits."""
        command = FetchHead(request_id=self._number("head"), model_id=model_id, chunk_rows=chunk_rows)
        async for chunk in self._chunks(command, HeadChunk):
            yield chunk

    # ── Single answers ───────────────────────────────────────────────────────────────────────────────────────────────

    async def embed(
        self, model_id: str, prompts: Sequence[Prompt], *, pooling: Pooling = Pooling.MEAN, normalize: bool = True
    ) -> Embedded:
        """One vector a prompt."""
        command = Embed(
            request_id=self._number("embed"),
            model_id=model_id,
            prompts=tuple(prompts),
            pooling=pooling,
            normalize=normalize,
        )
        return await self._ask(command, Embedded)

    async def count_tokens(self, model_id: str, prompt: Prompt) -> int:
        """Tokens of a prompt."""
        return len((await self.render(model_id, prompt)).token_ids)

    async def render(self, model_id: str, prompt: Prompt) -> Rendered:
        """A prompt as token ids and text."""
        return await self._ask(Render(request_id=self._number("render"), model_id=model_id, prompt=prompt), Rendered)

    async def decode(self, model_id: str, token_ids: Sequence[int], *, skip_special_tokens: bool = True) -> str:
        """The text of token ids."""
        command = Decode(
            request_id=self._number("decode"),
            model_id=model_id,
            token_ids=tuple(token_ids),
            skip_special_tokens=skip_special_tokens,
        )
        return (await self._ask(command, Decoded)).text

    # ── Health ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def health(self) -> HostHealth:
        """The state of the group and of each rank, without asking it anything."""
        supervisor = self._supervisor
        return HostHealth(
            state=supervisor.state,
            ranks=supervisor.current.health() if supervisor.current else (),
            models=tuple(self._models),
            requests=len(self._requests),
            restarts=supervisor.restarts,
            last_fault=supervisor.last_fault,
        )

    async def probe(self, model_id: str, *, timeout_s: float = 30.0) -> ProbeResult:
        """Complete one real token; what readiness should mean. ``DeadlineExpired`` if it takes too long."""
        command = Generate(
            request_id=self._number("probe"),
            model_id=model_id,
            prompt=TokenPrompt(token_ids=(0,)),
            sampling=SamplingParams(temperature=0.0),
            max_new_tokens=1,
            ignore_eos=True,
            priority=2**31 - 1,
        )
        begin = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                async for event in self.generate(command):
                    if isinstance(event, TokenDelta):
                        token_id, first_token_s = event.token_ids[0], time.monotonic() - begin
        except TimeoutError:
            raise DeadlineExpired(f"model {model_id!r} did not complete one token in {timeout_s:g} s") from None
        return ProbeResult(model_id=model_id, token_id=token_id, first_token_s=first_token_s)

    # ── Inside ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _chunks(self, request: Score | FetchHead, kind: type[Chunk]) -> AsyncGenerator[Chunk, None]:
        group = self._supervisor.group()
        with self._requests.open(group, request) as inbox:
            while not inbox.ended or inbox.pending:
                chunk = await inbox.next()
                assert isinstance(chunk, kind)
                yield chunk
                if not inbox.ended:
                    group.send(Credit(request_id=request.request_id))

    async def _ask(self, request: Request, kind: type[Reply]) -> Reply:
        with self._requests.open(self._supervisor.group(), request) as inbox:
            reply = await inbox.next()
            assert isinstance(reply, kind)
            return reply

    async def _load(
        self, group: RankGroup, command: Load, on_progress: Callable[[LoadProgress], None] | None = None
    ) -> ModelInfo:
        with self._requests.open(group, command) as inbox:
            while not isinstance(event := await inbox.next(), Loaded):
                if isinstance(event, LoadProgress) and on_progress:
                    on_progress(event)
            return event.info

    async def _reload(self, group: RankGroup) -> None:
        """Give a new group the models that the last one had; a model that no longer loads is dropped, and logged."""
        for model_id, (command, _) in list(self._models.items()):
            try:
                self._models[model_id] = (command, await self._load(group, command))
            except SeodangError as error:
                # Others do not wait for an external server; what is alone does.
                is_away = command.options.external is not None and len(self._models) > 1 and not group.fault()
                if isinstance(error, Retriable) and not is_away:
                    raise
                logger.error("model %s is gone: it no longer loads after a restart: %s", model_id, error.message)
                del self._models[model_id]

    def _number(self, kind: str) -> str:
        return f"{kind}-{next(self._numbers)}"
