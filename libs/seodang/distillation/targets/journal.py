"""The exactly-once half of scoring: chunks of a stream, durable as they arrive.

A journal is a file of frames, each a header (length, CRC-32, seconds since the frame before) and a serialized
``ScoreChunk``. The first frame says which request it belongs to. A process that dies leaves whole frames and perhaps a
torn one, which is cut off; the stream is resumed after the last whole one.
"""

import os
import struct
import time
import zlib
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from seodang.distillation.folder import sync_folder

_HEADER: Final = struct.Struct("<IId")


class Journal:
    """Frames of one request; a journal of another request at the same path is begun anew.

    Args:
        path: the file.
        request_sha256: what the frames answer.
    """

    def __init__(self, path: Path, request_sha256: str) -> None:
        self._path = path
        self.frames: list[bytes] = []
        self.seconds = 0.0
        found = path.read_bytes() if path.exists() else b""
        whole_bytes = self._read(found)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        claim = request_sha256.encode()
        if self.frames[:1] == [claim]:
            os.ftruncate(self._descriptor, whole_bytes)
            del self.frames[0]
        else:
            self.frames, self.seconds = [], 0.0
            os.ftruncate(self._descriptor, 0)
            self._write(claim, 0.0)
        self._last_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def append(self, chunk: bytes) -> None:
        """Adds a chunk. Once this returns, the death of this process does not lose it."""
        now_s = time.monotonic()
        self._write(chunk, now_s - self._last_s)
        self.frames.append(chunk)
        self.seconds += now_s - self._last_s
        self._last_s = now_s

    def remove(self) -> None:
        """Deletes the file: what it held is in a shard."""
        self._path.unlink()
        sync_folder(self._path.parent)

    def _write(self, content: bytes, seconds: float) -> None:
        frame = _HEADER.pack(len(content), zlib.crc32(content), seconds) + content
        written = os.write(self._descriptor, frame)
        if written != len(frame):
            raise OSError(f"{self._path}: only {written} of {len(frame)} bytes were written; is the disk full?")

    def _read(self, found: bytes) -> int:
        at = 0
        while at + _HEADER.size <= len(found):
            length, crc, seconds = _HEADER.unpack_from(found, at)
            content = found[at + _HEADER.size : at + _HEADER.size + length]
            if len(content) < length or zlib.crc32(content) != crc:
                break
            self.frames.append(content)
            self.seconds += seconds
            at += _HEADER.size + length
        return at
