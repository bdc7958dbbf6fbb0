"""Folders of a registry's versions, each named by the digest of its files."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from seodang.api.registry.v1 import registry_pb2
from seodang.client import AsyncClient
from seodang.client.download import download


class VersionFolders:
    """Downloaded versions. A folder appears whole under its final name, and is never written to again."""

    def __init__(self, state_dir: Path) -> None:
        self._base = state_dir / "versions"

    def find(self, version: registry_pb2.Version) -> Path | None:
        """The folder of an earlier download."""
        folder = self._base / version.sha256
        return folder if folder.is_dir() else None

    async def fetch(self, client: AsyncClient, version: registry_pb2.Version, report: Callable[[int], None]) -> Path:
        """Downloads, checks every file, and keeps the folder.

        Raises:
            Conflict: what came is not what the version lists.
        """
        self._base.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="incoming-", dir=self._base))
        try:
            await download(client, version, unfinished, report)
            return self._keep(version, unfinished)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _keep(self, version: registry_pb2.Version, unfinished: Path) -> Path:
        final = self._base / version.sha256
        if not final.is_dir():
            unfinished.replace(final)
        return final
