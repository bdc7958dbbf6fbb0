"""The leading rank's main loop: take commands, step every engine that has work, send what came of it."""

import gc
import threading

from seodang.base.errors import AlreadyExists, InvalidInput, NotFound, SeodangError, Unavailable
from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.engine import Engine
from seodang.runtime.external import ExternalEngine, load_external
from seodang.runtime.head_stream import HeadStream
from seodang.runtime.link import Link, Progress
from seodang.runtime.loading import load_engine
from seodang.runtime.orders import LeaveOrder, LoadOrder, OrderAnnounce, UnloadOrder, give
from seodang.runtime.scheduler import Scheduler
from seodang.runtime.sharding import Ranks
from seodang.worker.faults import to_failed
from seodang.worker.messages import (
    Cancel,
    ChatPrompt,
    Command,
    Credit,
    Decode,
    Decoded,
    Embed,
    Event,
    FetchHead,
    Generate,
    Load,
    Loaded,
    LoadProgress,
    ModelInfo,
    Render,
    Rendered,
    Score,
    Shutdown,
    TextPrompt,
    Unload,
    Unloaded,
)


class Server:
    """All models of one group of ranks, as rank 0 serves them."""

    def __init__(self, link: Link, ranks: Ranks, progress: Progress, window_chunks: int) -> None:
        self._link = link
        self._ranks = ranks
        self._progress = progress
        self._window_chunks = window_chunks
        self._engines: dict[str, Engine] = {}
        self._external: dict[str, ExternalEngine] = {}
        self._loading: set[str] = set()
        self._heads: dict[str, HeadStream] = {}

    def run(self) -> None:
        """Serve until the host says shutdown."""
        while True:
            busy = any(engine.busy for engine in self._engines.values())
            if not busy:
                self._progress.rest()
            for command in self._link.take(wait=not busy):
                self._progress.start()
                if isinstance(command, Shutdown):
                    self._leave()
                    return
                if callable(command):
                    command()
                else:
                    self._link.send(self._answer(command))
            self._step()

    def _step(self) -> None:
        for engine in self._engines.values():
            if engine.busy:
                self._progress.start()
                self._link.send(engine.step())
        schedulers = [engine.scheduler for engine in self._engines.values()]
        queues: list[Scheduler | ExternalEngine] = [*schedulers, *self._external.values()]
        self._progress.running = sum(queue.running for queue in queues)
        self._progress.waiting = sum(queue.waiting for queue in queues)
        self._progress.lost = {name: engine.lost for name, engine in self._external.items() if engine.lost}
        self._progress.free_cache_tokens = sum(scheduler.pool.available for scheduler in schedulers) * BLOCK_TOKENS

    def _answer(self, command: Command) -> list[Event]:
        """Carry out one command. An error of the tree is the caller's; any other is ours and ends the process."""
        try:
            return self._carry_out(command)
        except SeodangError as error:
            return [to_failed(getattr(command, "request_id", ""), error)]

    def _carry_out(self, command: Command) -> list[Event]:
        match command:
            case Generate():
                return [self._any_engine(command.model_id).generate(command)]
            case Score():
                self._engine(command.model_id, "Score").score(command, self._window_chunks)
            case Embed():
                self._engine(command.model_id, "Embed").embed(command)
            case Cancel(request_id=request_id):
                return self._cancel(request_id)
            case Credit(request_id=request_id, chunks=chunks):
                for engine in self._engines.values():
                    engine.add_credit(request_id, chunks)
                return self._next_head_chunks(request_id, chunks)
            case FetchHead():
                executor = self._engine(command.model_id, "GetOutputHead").executor
                self._heads[command.request_id] = HeadStream(command, executor)
                return self._next_head_chunks(command.request_id, self._window_chunks)
            case Render():
                return [self._render(command)]
            case Decode(request_id=request_id):
                tokenizer = self._any_engine(command.model_id).tokenizer
                text = tokenizer.decode(command.token_ids, skip_special_tokens=command.skip_special_tokens)
                return [Decoded(request_id=request_id, text=text)]
            case Load():
                self._load(command)
            case Unload():
                return self._unload(command)
        return []

    def _any_engine(self, model_id: str) -> Engine | ExternalEngine:
        engine = self._engines.get(model_id) or self._external.get(model_id)
        if engine is None:
            known = ", ".join(sorted([*self._engines, *self._external])) or "none"
            raise NotFound(f"model {model_id!r} is not loaded; loaded: {known}", metadata={"model": model_id})
        return engine

    def _engine(self, model_id: str, wanted: str) -> Engine:
        engine = self._any_engine(model_id)
        if isinstance(engine, ExternalEngine):
            raise engine.refusal(wanted)
        return engine

    def _cancel(self, request_id: str) -> list[Event]:
        self._heads.pop(request_id, None)
        engines: list[Engine | ExternalEngine] = [*self._engines.values(), *self._external.values()]
        ended = [engine.cancel(request_id) for engine in engines]
        return [event for event in ended if event is not None]

    def _next_head_chunks(self, request_id: str, count: int) -> list[Event]:
        stream = self._heads.get(request_id)
        if stream is None:
            return []
        chunks = stream.take(count)
        if chunks and chunks[-1].last:
            del self._heads[request_id]
        return list(chunks)

    def _render(self, command: Render) -> Rendered:
        tokenizer = self._any_engine(command.model_id).tokenizer
        ids = tokenizer.encode(command.prompt)
        if isinstance(command.prompt, ChatPrompt):
            text = tokenizer.render(command.prompt)
        elif isinstance(command.prompt, TextPrompt):
            text = command.prompt.text
        else:
            text = tokenizer.decode(ids, skip_special_tokens=False)
        return Rendered(request_id=command.request_id, token_ids=tuple(ids), text=text)

    def _load(self, command: Load) -> None:
        model_id = command.model_id
        if model_id in (*self._engines, *self._external, *self._loading):
            raise AlreadyExists(f"model {model_id!r} is loaded; unload it first or choose another name")
        if command.options.layout.ranks != self._ranks.size:
            layout = command.options.layout
            raise InvalidInput(
                f"layout tp={layout.tp} pp={layout.pp} needs {layout.ranks} ranks, this group has {self._ranks.size}",
                field="options.layout",
            )
        if command.options.external is not None and self._ranks.size > 1:
            raise InvalidInput(
                f"an external server computes {model_id!r}: {self._ranks.size} ranks have nothing to do, start one",
                field="options.layout",
            )
        self._loading.add(model_id)
        if self._ranks.size == 1:  # other models keep serving
            threading.Thread(target=self._load_now, args=(command,), name=f"load {model_id}", daemon=True).start()
        else:  # every rank loads now, in step
            give(LoadOrder(model_id=model_id, folder=command.folder, options=command.options))
            self._load_now(command)

    def _load_now(self, command: Load) -> None:
        def report(bytes_read: int, bytes_total: int, elapsed_s: float) -> None:
            self._progress.start()
            progress = LoadProgress(
                request_id=command.request_id, bytes_read=bytes_read, bytes_total=bytes_total, elapsed_s=elapsed_s
            )
            self._link.send([progress])

        announce = OrderAnnounce(command.model_id) if self._ranks.size > 1 else None
        model_id, folder, options = command.model_id, command.folder, command.options
        engine: Engine | ExternalEngine
        try:
            if options.external is not None:
                engine, info = load_external(command, options.external, self._link)
            else:
                engine, info = load_engine(model_id, folder, options, self._ranks, report, announce)
        except SeodangError as error:
            failure = error
            self._link.post(lambda: self._load_failed(command, failure))
        else:
            self._link.post(lambda: self._install(command, engine, info))

    def _install(self, command: Load, engine: Engine | ExternalEngine, info: ModelInfo) -> None:
        self._loading.discard(command.model_id)
        if isinstance(engine, ExternalEngine):
            self._external[command.model_id] = engine
        else:
            self._engines[command.model_id] = engine
        self._link.send([Loaded(request_id=command.request_id, info=info)])

    def _load_failed(self, command: Load, error: SeodangError) -> None:
        self._loading.discard(command.model_id)
        if self._ranks.size > 1:  # the others may have loaded their part
            give(UnloadOrder(model_id=command.model_id))
        self._link.send([to_failed(command.request_id, error)])

    def _unload(self, command: Unload) -> list[Event]:
        engine = self._any_engine(command.model_id)
        events = engine.fail_all(Unavailable(f"model {command.model_id!r} was unloaded while the request ran"))
        if isinstance(engine, ExternalEngine):
            engine.close()
            del self._external[command.model_id]
            return [*events, Unloaded(request_id=command.request_id)]
        del self._engines[command.model_id]
        if self._ranks.size > 1:
            give(UnloadOrder(model_id=command.model_id))
        del engine
        gc.collect()
        return [*events, Unloaded(request_id=command.request_id)]

    def _leave(self) -> None:
        if self._ranks.size > 1:
            give(LeaveOrder())
