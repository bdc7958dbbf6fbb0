"""The decision log: one file of JSON lines a session, only ever appended to."""

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self


class Journal:
    """Writes what was seen, wanted and commanded. A line is in the kernel's hands before its command is sent."""

    def __init__(self, folder: Path, session: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / f"{session}.jsonl").open("a", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def write(self, event: str, **facts: object) -> None:
        """Appends one line: the time in seconds since 1970, the event, and its facts."""
        self._file.write(
            json.dumps({"time": round(time.time(), 3), "event": event, **facts}, ensure_ascii=False) + "\n"
        )
        self._file.flush()
