"""The registry's folder: the files of each version in a folder named by the SHA-256 of its content.

A folder appears whole, under its final name, and is never written to again.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from seodang.base.errors import InternalFault, InvalidInput
from seodang.distill.registry.domain import StoredFile, files_sha256

CHUNK_BYTES: Final = 2**20
_INCOMING: Final = ".incoming-"


class VersionFiles:
    """Files of versions under ``root``. Its methods block on the disk: call them from a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def clean(self) -> None:
        """Makes the folder, and removes what a killed process had only begun to copy."""
        self.root.mkdir(parents=True, exist_ok=True)
        for leftover in self.root.glob(f"{_INCOMING}*"):
            shutil.rmtree(leftover)

    def folder(self, sha256: str) -> Path:
        """Where the version of that content lies."""
        return self.root / sha256

    def take_in(self, source: Path) -> tuple[StoredFile, ...]:
        """Copies a finished student; the same content twice is kept once.

        Raises:
            InvalidInput: the folder is empty or holds something other than files and folders.
        """
        incoming = Path(tempfile.mkdtemp(prefix=_INCOMING, dir=self.root))
        try:
            files = tuple(_copied(source, path, incoming) for path in _regular_files(source))
            target = self.folder(files_sha256(files))
            if not target.exists():
                _sync_folders(incoming)
                incoming.chmod(0o755)
                incoming.rename(target)
                _sync(self.root)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
        return files

    def chunks(self, sha256: str, file: StoredFile, begin: int = 0) -> Iterator[tuple[int, bytes]]:
        """The file from byte ``begin`` on, in order as (offset, at most 1 MiB); an empty file is one empty chunk.

        Raises:
            InternalFault: what lies on the disk is no longer what was stored.
        """
        digest = hashlib.sha256()
        offset = 0
        with (self.folder(sha256) / file.path).open("rb") as content:
            while (data := content.read(CHUNK_BYTES)) or not offset:
                digest.update(data)
                asked = data[max(0, begin - offset) :]
                offset += len(data)
                if asked or not file.bytes:
                    yield offset - len(asked), asked
                if not data:
                    break
        if digest.hexdigest() != file.sha256:
            raise InternalFault(
                f"{file.path} of version content {sha256} is damaged on the registry's disk: discard what was "
                "received, and restore the folder from a backup or distil again",
                reason="DAMAGED_FILE",
                metadata={"path": file.path},
            )


def _regular_files(source: Path) -> list[Path]:
    paths = sorted(path for path in source.rglob("*") if not path.is_dir() or path.is_symlink())
    odd = [path for path in paths if path.is_symlink() or not path.is_file()]
    if odd or not paths:
        raise InvalidInput(f"{odd[0] if odd else source} cannot become a version: only files in folders can")
    return paths


def _copied(source: Path, path: Path, incoming: Path) -> StoredFile:
    relative = path.relative_to(source)
    target = incoming / relative
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    with path.open("rb") as reader, target.open("wb") as writer:
        while data := reader.read(CHUNK_BYTES):
            digest.update(data)
            size += writer.write(data)
        writer.flush()
        os.fsync(writer.fileno())
    target.chmod(0o444)
    return StoredFile(relative.as_posix(), size, digest.hexdigest())


def _sync_folders(root: Path) -> None:
    for folder in (root, *(path for path in root.rglob("*") if path.is_dir())):
        _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
