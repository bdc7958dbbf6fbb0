"""Which students are in memory: loads, replaces, unloads and evicts them without disturbing anyone's stream."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeAlias

import msgspec

from seodang.base.errors import (
    AlreadyExists,
    Conflict,
    Exhausted,
    InternalFault,
    InvalidInput,
    NotFound,
    Retriable,
    SeodangError,
    Unsupported,
)
from seodang.inference import ModelName, ServedModel, active_parameters, read_defaults
from seodang.student.domain import FolderSource, LoadOrder, Progress, Resident, victims
from seodang.student.folders import weight_bytes
from seodang.student.loading import Loading
from seodang.worker import EngineHost
from seodang.worker.messages import ExternalServer, LoadOptions, LoadProgress

log = logging.getLogger(__name__)

RETRY_WHEN_FULL_S: Final = 5.0
FAULTS_OF_THE_CHECKPOINT: Final = (InvalidInput, Conflict, Unsupported)

Fetch: TypeAlias = Callable[[ModelName, Callable[[Progress], None]], Awaitable[Path]]


class Placement:
    """The models of one engine host within a budget of memory.

    An async context manager: leaving it ends loads under way. The host itself is somebody else's.
    """

    def __init__(
        self,
        host: EngineHost,
        options: LoadOptions,
        memory_bytes: int,
        fetch: Fetch,
        external: Mapping[str, ExternalServer],
    ) -> None:
        self._host = host
        self._options = options
        self._memory_bytes = memory_bytes
        self._fetch = fetch
        self._external = external
        self._in_memory: dict[str, Resident] = {}
        self._by_name: dict[str, Resident] = {}
        self._loadings: dict[str, Loading] = {}
        self._on_demand: dict[str, LoadOrder] = {}
        self._failed: dict[str, SeodangError] = {}
        self._reserved_bytes = 0
        self._loads_begun = 0
        self._admission = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ── What there is ────────────────────────────────────────────────────────────────────────────────────────────────

    def residents(self) -> Sequence[Resident]:
        """The models that requests can name."""
        return tuple(self._by_name.values())

    def resident(self, name: str) -> Resident | None:
        """One of them."""
        return self._by_name.get(name)

    def loading(self) -> Sequence[str]:
        """Names that will be resident."""
        return tuple(self._loadings)

    def leaving(self) -> Sequence[str]:
        """Names whose last streams are being finished."""
        return tuple(r.served.name for r in self._in_memory.values() if self._by_name.get(r.served.name) is not r)

    def on_demand(self) -> Sequence[str]:
        """Names that the first request brings back."""
        return tuple(self._on_demand)

    def failed(self) -> Sequence[str]:
        """Names whose last load failed."""
        return tuple(self._failed)

    # ── Coming ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def load(self, order: LoadOrder) -> Loading:
        """Begins a load, or joins the one that does the same; what it returns tells how it goes and ends.

        Raises:
            AlreadyExists: another model has the name, and the order does not say to replace it.
            Conflict: another model is being loaded under the name.
        """
        if (under_way := self._loadings.get(order.name)) is not None:
            if not under_way.order.loads_the_same(order):
                raise Conflict(
                    f"{order.name} is being loaded from {under_way.order.source}: wait for that to end",
                    reason="LOADING_ANOTHER",
                )
            under_way.pin |= order.pin
            return under_way
        loading = Loading(order)
        resident = self._by_name.get(order.name)
        if resident is not None and resident.order.loads_the_same(order):
            resident.pinned |= order.pin
            loading.succeed(resident)
            return loading
        if resident is not None and not order.replace:
            raise AlreadyExists(
                f"{order.name} is resident from {resident.order.source} in {resident.order.dtype}: "
                "set replace, or use another name",
                metadata={"source": str(resident.order.source)},
            )
        self._loadings[order.name] = loading
        self._spawn(self._run(loading))
        return loading

    async def bring(self, name: str) -> Resident:
        """The resident model of that name; one that was evicted, or has not been needed yet, is loaded.

        Raises:
            NotFound: no such model is known.
            Conflict: its load failed before.
        """
        self._forget_lost()
        if (resident := self._by_name.get(name)) is not None:
            return resident
        if (loading := self._loadings.get(name)) is not None:
            return await loading.result()
        if (order := self._on_demand.get(name)) is not None:
            return await self.load(order).result()
        raise self.refusal(name)

    def refusal(self, name: str) -> SeodangError:
        """Why there is no such model."""
        if (error := self._failed.get(name)) is not None:
            return Conflict(
                f"{name} could not be loaded: {error.message}. Correct that and call LoadModel",
                reason="LOAD_FAILED",
                metadata={"model": name},
            )
        held = ", ".join(sorted([*self._by_name, *self._on_demand])) or "none"
        return NotFound(f"this server has no {name}; it has: {held}", metadata={"model": name})

    async def _run(self, loading: Loading) -> None:
        name = loading.order.name
        try:
            resident = await self._bring_in(loading)
        except Exception as error:  # noqa: BLE001 - told to everyone who waits, and kept for those who ask later
            self._give_up(loading, error)
        else:
            replaced = self._by_name.get(name)
            self._by_name[name] = resident
            self._on_demand.pop(name, None)
            self._failed.pop(name, None)
            resident.pinned = loading.pin or (replaced is not None and replaced.pinned)
            loading.succeed(resident)
            log.info("%s serves from %s, %.1f MB", name, resident.order.source, resident.memory_bytes / 1e6)
            if replaced is not None:
                self._spawn(self._free_when_idle(replaced))
        finally:
            del self._loadings[name]

    def _give_up(self, loading: Loading, error: Exception) -> None:
        order = loading.order
        if not isinstance(error, SeodangError):
            log.error("loading %s failed", order.name, exc_info=error)
            error = InternalFault(f"loading {order.name} met a fault of the server's own; its log has the details")
        log.warning("%s could not be loaded from %s: %s", order.name, order.source, error.message)
        # A version that could not be fetched is asked for again; what callers make up must not be remembered.
        # An external server may be away for a while, or start later than we do.
        may_come = isinstance(error, Retriable if order.name in self._external else Exhausted)
        if may_come and isinstance(order.source, FolderSource):
            self._on_demand[order.name] = order
        elif isinstance(error, FAULTS_OF_THE_CHECKPOINT) and order.name not in (*self._by_name, *self._on_demand):
            self._failed[order.name] = error
        loading.fail(error)

    async def _bring_in(self, loading: Loading) -> Resident:
        order = loading.order
        folder = await self._folder_of(loading)
        elsewhere = order.name in self._external
        needed = 0 if elsewhere else weight_bytes(folder, order.dtype) + self._options.cache_bytes
        await self._reserve(order, needed)
        try:
            return await self._load(loading, folder)
        finally:
            self._reserved_bytes -= needed

    async def _folder_of(self, loading: Loading) -> Path:
        source = loading.order.source
        return source.path if isinstance(source, FolderSource) else await self._fetch(source.name, loading.report)

    async def _load(self, loading: Loading, folder: Path) -> Resident:
        order = loading.order
        self._loads_begun += 1
        engine_id = f"{order.name}#{self._loads_begun}"

        def report(progress: LoadProgress) -> None:
            loading.report(Progress("reading weights", progress.bytes_read, progress.bytes_total))

        options = msgspec.structs.replace(self._options, dtype=order.dtype, external=self._external.get(order.name))
        sampling = read_defaults(folder)
        info = await self._host.load(engine_id, str(folder), options=options, on_progress=report)
        try:
            loading.report(Progress("completing a first token", info.bytes_read, info.bytes_read))
            await self._host.probe(engine_id)
            served = ServedModel(order.name, info, active_parameters(folder, info.parameters), sampling)
        except BaseException:
            await asyncio.shield(self._host.unload(engine_id))
            raise
        memory_bytes = info.weight_bytes + info.cache_tokens * info.cache_bytes_per_token
        resident = self._in_memory[engine_id] = Resident(order, served, memory_bytes)
        return resident

    async def _reserve(self, order: LoadOrder, needed: int) -> None:
        async with self._admission:
            used = self._reserved_bytes + sum(resident.memory_bytes for resident in self._in_memory.values())
            missing = used + needed - self._memory_bytes
            # A model that the order replaces serves until the new one does.
            others = [resident for resident in self.residents() if resident.served.name != order.name]
            evicted = victims(others if order.may_evict else [], missing)
            if evicted is None:
                raise Exhausted(
                    f"{order.name} needs {needed / 1e6:.0f} MB, {max(0, self._memory_bytes - used) / 1e6:.0f} MB of "
                    f"{self._memory_bytes / 1e6:.0f} MB are free, and what is idle and not pinned is too little: "
                    "unload or unpin a model, or give the server more memory",
                    retry_after_s=RETRY_WHEN_FULL_S,
                    reason="MEMORY_BUDGET",
                )
            for resident in evicted:  # all at once, so that no request takes one while another is being freed
                log.info("evicting %s, last used %s", resident.served.name, resident.last_use_time)
                self._on_demand[resident.served.name] = resident.order
                del self._by_name[resident.served.name]
            for resident in evicted:
                await self._free(resident)
            self._reserved_bytes += needed

    # ── Going ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def unload(self, name: str, *, force: bool) -> int:
        """Frees a model once its streams have ended, or ends them; returns the bytes freed.

        It goes on when the caller leaves.

        Raises:
            NotFound: it is not resident.
            Conflict: it is pinned.
        """
        resident = self._by_name.get(name)
        if resident is None:
            if name in self._loadings:
                raise Conflict(f"{name} is being loaded: wait for that to end", reason="LOADING")
            if self._on_demand.pop(name, None) or self._failed.pop(name, None):
                return 0
            raise NotFound(f"{name} is not resident; ListResidentModels tells what is", metadata={"model": name})
        if resident.pinned:
            raise Conflict(f"{name} is pinned: lift the pin with PinModel first", reason="PINNED")
        del self._by_name[name]
        await asyncio.shield(self._spawn(self._free(resident) if force else self._free_when_idle(resident)))
        return resident.memory_bytes

    def pin(self, name: str, pinned: bool) -> Resident:
        """Protects a model from eviction and unloading, or lifts that. ``NotFound`` if it is not resident."""
        resident = self._by_name.get(name)
        if resident is None:
            raise NotFound(f"{name} is not resident: load it first", metadata={"model": name})
        resident.pinned = pinned
        return resident

    async def _free_when_idle(self, resident: Resident) -> None:
        await resident.idle.wait()
        await self._free(resident)

    async def _free(self, resident: Resident) -> None:
        while resident.engine_id in self._in_memory:
            try:
                await self._host.unload(resident.engine_id)
            except NotFound:
                log.info("%s had left the engine before it was unloaded", resident.served.name)
            except Retriable as error:  # the ranks come back with the model, so it has to be unloaded then
                await asyncio.sleep(error.retry_after_s)
                continue
            del self._in_memory[resident.engine_id]

    def _forget_lost(self) -> None:
        """A model that the engine lost in a restart is loaded by its next request, or fails there."""
        held = {info.model_id for info in self._host.models()}
        for resident in [resident for resident in self._in_memory.values() if resident.engine_id not in held]:
            del self._in_memory[resident.engine_id]
            if self._by_name.get(resident.served.name) is resident:
                del self._by_name[resident.served.name]
                self._on_demand[resident.served.name] = resident.order

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
