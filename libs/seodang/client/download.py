"""The files of a registry's version, checked one by one. What came before a break is not asked for again."""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Final

from seodang.api.registry.v1 import registry_pb2
from seodang.base.errors import Conflict, DeadlineExpired, Unavailable
from seodang.client.client import AsyncClient

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 1800.0
AWAY_LIMIT_S: Final = 30.0
ASK_AGAIN_S: Final = 1.0


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


async def download(
    client: AsyncClient, version: registry_pb2.Version, folder: Path, report: Callable[[int], None]
) -> None:
    """Completes a folder that nobody else writes to, from whatever an earlier download of the version left in it.

    Args:
        report: told how many bytes are there.

    Raises:
        Conflict: what came is not what the version lists.
        Unavailable: the registry has been away for ``AWAY_LIMIT_S``; the folder keeps what came.
    """
    check_listing(version)
    away_since_s: float | None = None
    while (present := _present(version, folder)) < _total(version):
        report(present)
        try:
            await _receive(client, version, folder, present, report)
        except (Unavailable, DeadlineExpired) as error:
            now_s = time.monotonic()
            if away_since_s is None or _present(version, folder) > present:
                away_since_s = now_s
            if now_s - away_since_s > AWAY_LIMIT_S:
                raise
            log.warning("the download of %s broke off and goes on: %s", version.name, error)
            await asyncio.sleep(ASK_AGAIN_S)
    report(present)
    try:
        await asyncio.to_thread(check_folder, version, folder)
    except Conflict:
        _empty(version, folder)
        raise


def _present(version: registry_pb2.Version, folder: Path) -> int:
    """How many bytes are there, file after file: each is as long as listed, but for one and the empty ones behind it.

    A folder of which that is not true, such as one that nobody began, is begun anew.
    """
    files = [(folder / file.path, file.bytes) for file in version.files]
    sizes = [path.stat().st_size if path.is_file() else -1 for path, _ in files]
    present = left = sum(sizes)
    for size, (_, listed) in zip(sizes, files, strict=True):
        if size != min(left, listed):
            _empty(version, folder)
            return 0
        left -= size
    return present


def _total(version: registry_pb2.Version) -> int:
    return sum(file.bytes for file in version.files)


def _empty(version: registry_pb2.Version, folder: Path) -> None:
    for file in version.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


async def _receive(
    client: AsyncClient, version: registry_pb2.Version, folder: Path, present: int, report: Callable[[int], None]
) -> None:
    request = registry_pb2.DownloadVersionRequest(version=version.name, skip_bytes=present)
    sizes = {file.path: file.bytes for file in version.files}
    async for part in client.registry.DownloadVersion(request, timeout=TIMEOUT_S):
        path = folder / part.path
        if part.path not in sizes or part.offset != path.stat().st_size:
            raise _corrupt(version, f"bytes of {part.path!r} at {part.offset} came out of turn")
        if part.offset + len(part.data) > sizes[part.path]:
            raise _corrupt(version, f"{part.path} is longer than the {sizes[part.path]} bytes it is listed with")
        with path.open("ab") as stream:
            stream.write(part.data)
        present += len(part.data)
        report(present)
    if present < _total(version):
        raise _corrupt(version, f"it ended after {present} of {_total(version)} bytes")


def _corrupt(version: registry_pb2.Version, what: str) -> Conflict:
    return Conflict(
        f"{version.name} cannot be trusted: {what}; publish it again, or use another version",
        reason="CORRUPT_VERSION",
        metadata={"version": version.name},
    )
