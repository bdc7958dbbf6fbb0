"""What the student server holds, and what it can be told to hold. Knows neither gRPC nor the engine's processes."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeAlias

from seodang.inference import ModelName, ServedModel
from seodang.worker.messages import DType


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A checkpoint folder below a model root; the path is resolved."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class VersionSource:
    """A version of the registry."""

    name: ModelName

    def __str__(self) -> str:
        return str(self.name)


Source: TypeAlias = FolderSource | VersionSource


@dataclass(frozen=True, slots=True)
class LoadOrder:
    """A model that shall be resident."""

    name: str
    source: Source
    dtype: DType
    pin: bool = False
    replace: bool = False
    may_evict: bool = True
    """Make room by freeing idle models, least recently used first."""

    def loads_the_same(self, other: "LoadOrder") -> bool:
        """Whether both end in the same model under the same name."""
        return (self.name, self.source, self.dtype) == (other.name, other.source, other.dtype)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a load is."""

    stage: str
    bytes_done: int = 0
    bytes_total: int = 0


class Resident:
    """A model in memory, with its users and its last use."""

    def __init__(self, order: LoadOrder, served: ServedModel, memory_bytes: int) -> None:
        self.order = order
        self.served = served
        self.memory_bytes = memory_bytes
        self.pinned = order.pin
        self.load_time = datetime.now(UTC)
        self.last_use_time = self.load_time
        self.idle = asyncio.Event()
        """Set while no request uses the model."""
        self.idle.set()
        self._users = 0

    @property
    def engine_id(self) -> str:
        """The engine's name for the model, unlike that of the model it replaced."""
        return self.served.info.model_id

    @contextmanager
    def in_use(self) -> Iterator[ServedModel]:
        """Keeps the model from being freed while a request runs."""
        self._users += 1
        self.idle.clear()
        try:
            yield self.served
        finally:
            self._users -= 1
            self.last_use_time = datetime.now(UTC)
            if not self._users:
                self.idle.set()


def victims(residents: list[Resident], bytes_needed: int) -> list[Resident] | None:
    """Idle models without a pin whose memory suffices, least recently used first; None if they do not suffice."""
    chosen: list[Resident] = []
    evictable = sorted((r for r in residents if r.idle.is_set() and not r.pinned), key=lambda r: r.last_use_time)
    for resident in evictable:
        if bytes_needed <= 0:
            break
        chosen.append(resident)
        bytes_needed -= resident.memory_bytes
    return chosen if bytes_needed <= 0 else None
