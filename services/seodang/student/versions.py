"""Files of a registry's version: checked one by one, and kept in a folder named by the digest of them all."""

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath
from typing import IO, Final

from seodang.api.registry.v1 import registry_pb2
from seodang.base.errors import Conflict

_READ_BYTES: Final = 2**20


def check_listing(version: registry_pb2.Version) -> None:
    """``Conflict`` if the version's digest is not that of its files, or a file would leave its folder."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in sorted(version.files, key=lambda file: file.path))
    if hashlib.sha256(lines.encode()).hexdigest() != version.sha256:
        raise _corrupt(version, "its sha256 is not that of its list of files")
    for file in version.files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or "\\" in file.path or not path.parts:
            raise _corrupt(version, f"it names the file {file.path!r}, which lies outside its folder")


def check_folder(version: registry_pb2.Version, folder: Path) -> None:
    """``Conflict`` naming the first file of the version that the folder lacks or holds with other content."""
    for file in version.files:
        path = folder / file.path
        if not path.is_file():
            raise _corrupt(version, f"{path} is missing")
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != file.sha256:
            raise _corrupt(version, f"{path} has sha256 {found}, not {file.sha256}")


class VersionFolders:
    """Downloaded versions. A folder appears whole under its final name, and is never written to again."""

    def __init__(self, state_dir: Path) -> None:
        self._base = state_dir / "versions"

    def find(self, version: registry_pb2.Version) -> Path | None:
        """The folder of an earlier download."""
        folder = self._base / version.sha256
        return folder if folder.is_dir() else None

    async def save(
        self,
        version: registry_pb2.Version,
        parts: AsyncIterator[registry_pb2.DownloadVersionResponse],
        report: Callable[[int], None],
    ) -> Path:
        """Writes the parts as they come, checks every file, and keeps the folder.

        Raises:
            Conflict: what came is not what the version lists.
        """
        self._base.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix="incoming-", dir=self._base))
        try:
            await _write(version, parts, unfinished, report)
            return await asyncio.to_thread(self._keep, version, unfinished)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _keep(self, version: registry_pb2.Version, unfinished: Path) -> Path:
        check_folder(version, unfinished)
        final = self._base / version.sha256
        if not final.is_dir():
            unfinished.replace(final)
        return final


async def _write(
    version: registry_pb2.Version,
    parts: AsyncIterator[registry_pb2.DownloadVersionResponse],
    folder: Path,
    report: Callable[[int], None],
) -> None:
    sizes = {file.path: file.bytes for file in version.files}
    written: dict[str, int] = dict.fromkeys(sizes, 0)
    async for part in parts:
        if part.path not in sizes or part.offset != written[part.path]:
            raise _corrupt(version, f"bytes of {part.path!r} at {part.offset} came out of turn")
        written[part.path] += len(part.data)
        if written[part.path] > sizes[part.path]:
            raise _corrupt(version, f"{part.path} is longer than the {sizes[part.path]} bytes it is listed with")
        with _opened(folder / part.path) as stream:
            stream.write(part.data)
        report(sum(written.values()))


def _opened(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _corrupt(version: registry_pb2.Version, what: str) -> Conflict:
    return Conflict(
        f"{version.name} cannot be trusted: {what}; publish it again, or use another version",
        reason="CORRUPT_VERSION",
        metadata={"version": version.name},
    )
