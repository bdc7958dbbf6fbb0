"""The students that requests can name, wherever they come from: memory, a model root, or the registry."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from seodang.api.inference.v1 import model_pb2
from seodang.base.errors import Exhausted, InvalidInput, PermissionDenied, SeodangError
from seodang.inference import AbsentModel, ListedModel, ModelName, ServedModel
from seodang.student.domain import FolderSource, LoadOrder, Resident, VersionSource
from seodang.student.folders import ModelRoots
from seodang.student.registry import Registry
from seodang.student.service import Placement
from seodang.worker.messages import DType

log = logging.getLogger(__name__)

ATTEMPTS: Final = 3


class Students:
    """Finds the model that a name stands for, and loads it if it is known and not in memory."""

    def __init__(self, placement: Placement, registry: Registry, dtype: DType) -> None:
        self._placement = placement
        self._registry = registry
        self._dtype = dtype

    async def load_all(self, roots: ModelRoots) -> None:
        """Loads what fits into memory without evicting; the rest, and what is broken, is noted and named in the log."""
        for path in roots.checkpoints():
            try:
                name = str(ModelName.parse(f"models/{path.name}", field="folder"))
                folder = roots.resolve(str(path))
            except (InvalidInput, PermissionDenied) as error:
                log.warning("%s is passed over: %s", path, error.message)
                continue
            order = LoadOrder(name, FolderSource(folder), self._dtype, may_evict=False)
            try:
                await self._placement.load(order).result()
            except SeodangError as error:
                log.warning("%s does not serve yet: %s", name, error.message)

    @asynccontextmanager
    async def lease(self, name: str) -> AsyncIterator[ServedModel]:
        """The model, kept in memory while the context lasts."""
        target = await self._target(name)
        for _ in range(ATTEMPTS):
            resident = await self._resident(target)
            # Between a load and this line another load may have evicted it again.
            if self._placement.resident(str(target)) is resident:
                with resident.in_use() as served:
                    yield served
                return
        raise Exhausted(
            f"{target} was evicted {ATTEMPTS} times before it could be used: the memory budget is too small"
        )

    async def find(self, name: str) -> ListedModel:
        """The model as it stands now."""
        target = str(await self._target(name))
        listed = next((listed for listed in self.listing() if listed.name == target), None)
        if listed is None:
            raise self._placement.refusal(target)
        return listed

    def listing(self) -> Sequence[ListedModel]:
        """Every name that is known, in memory or not."""
        placement = self._placement
        states = (
            (placement.on_demand(), model_pb2.MODEL_STATE_ON_DEMAND),
            (placement.failed(), model_pb2.MODEL_STATE_FAILED),
            (placement.leaving(), model_pb2.MODEL_STATE_UNLOADING),
            (placement.loading(), model_pb2.MODEL_STATE_LOADING),
        )
        listed: dict[str, ListedModel] = {name: AbsentModel(name, state) for names, state in states for name in names}
        return tuple((listed | {resident.served.name: resident.served for resident in placement.residents()}).values())

    async def _target(self, name: str) -> ModelName:
        parsed = ModelName.parse(name)
        return await self._registry.resolve(parsed) if parsed.alias else parsed

    async def _resident(self, target: ModelName) -> Resident:
        name = str(target)
        if target.version and self._placement.resident(name) is None and name not in self._placement.failed():
            order = LoadOrder(name, VersionSource(target), self._dtype)
            return await self._placement.load(order).result()
        return await self._placement.bring(name)
