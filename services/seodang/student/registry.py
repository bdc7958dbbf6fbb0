"""The registry as the student server sees it: which version an alias stands for, and where its files are."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from seodang.api.registry.v1 import registry_pb2
from seodang.base.errors import DeadlineExpired, Unavailable
from seodang.client import AsyncClient
from seodang.client.download import check_folder, check_listing
from seodang.inference import ModelName
from seodang.student.domain import Progress
from seodang.student.versions import VersionFolders

log = logging.getLogger(__name__)

RESOLVE_TIMEOUT_S: Final = 3.0


class Registry:
    """Asks a RegistryService; what it last said of an alias holds for a while, and for as long as it is away."""

    def __init__(self, client: AsyncClient, folders: VersionFolders, alias_ttl_s: float) -> None:
        self._client = client
        self._folders = folders
        self._alias_ttl_s = alias_ttl_s
        self._resolved: dict[str, tuple[ModelName, float]] = {}
        self._asking = asyncio.Lock()

    async def resolve(self, alias: ModelName) -> ModelName:
        """The version that an alias stands for.

        Raises:
            NotFound: the registry does not know the alias.
            Unavailable: the registry is away, and has never been asked for the alias before.
        """
        async with self._asking:
            known = self._resolved.get(str(alias))
            if known and time.monotonic() < known[1]:
                return known[0]
            version = await self._ask(alias, known[0] if known else None)
            self._resolved[str(alias)] = version, time.monotonic() + self._alias_ttl_s
            return version

    async def _ask(self, alias: ModelName, last: ModelName | None) -> ModelName:
        request = registry_pb2.ResolveModelRequest(name=str(alias))
        try:
            answer = await self._client.registry.ResolveModel(request, timeout=RESOLVE_TIMEOUT_S)
        except (Unavailable, DeadlineExpired) as error:
            if last is None:
                raise Unavailable(
                    f"the registry at {self._client.address} cannot be asked what {alias} stands for "
                    f"({error.message}): try again, or name a version"
                ) from error
            log.warning("the registry at %s is away: %s stays %s", self._client.address, alias, last)
            return last
        return ModelName.parse(answer.version.name, field="version")

    async def fetch(self, name: ModelName, report: Callable[[Progress], None]) -> Path:
        """The folder of a version: the registry's own if this server can read it, else a download. Always checked.

        Raises:
            NotFound: there is no such version.
            Conflict: the files are not what the registry lists.
        """
        request = registry_pb2.GetVersionRequest(name=str(name))
        version = (await self._client.registry.GetVersion(request, timeout=RESOLVE_TIMEOUT_S)).version
        check_listing(version)
        for folder in (Path(version.folder) if version.folder else None, self._folders.find(version)):
            if folder is not None and os.access(folder, os.R_OK | os.X_OK):
                report(Progress("checking files", bytes_total=version.total_bytes))
                await asyncio.to_thread(check_folder, version, folder)
                return folder
        return await self._download(version, report)

    async def _download(self, version: registry_pb2.Version, report: Callable[[Progress], None]) -> Path:
        log.info("downloading %s, %.1f MB", version.name, version.total_bytes / 1e6)
        return await self._folders.fetch(
            self._client, version, lambda done: report(Progress("downloading", done, version.total_bytes))
        )
