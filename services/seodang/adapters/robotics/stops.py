"""Emergency stops that stay latched, also over a restart, until somebody releases them."""

import asyncio
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seodang.base.errors import AlreadyExists, Conflict, InvalidInput, NotFound

_SESSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
EVERY_SESSION = ""


def check_session(session: str) -> None:
    """A session's name becomes a file's name.

    Raises:
        InvalidInput: not 1 to 64 letters, digits, dots, hyphens and underscores, a letter or digit first.
    """
    if not _SESSION.fullmatch(session):
        raise InvalidInput(
            f"session={session[:80]!r}: 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit", field="session"
        )


class StopLatch:
    """Which sessions are stopped, kept in ``path``, and a signal to those that run.

    Raises:
        Conflict: the file is not as this class writes it. The service must not start: a stop might be lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._running: dict[str, asyncio.Event] = {}
        self._latched = _load(path)

    @contextmanager
    def session(self, name: str) -> Iterator[asyncio.Event]:
        """Registers a running session; the event is set once it must stop.

        Raises:
            Conflict: a stop is latched for it.
            AlreadyExists: a session of that name runs.
        """
        for latched in (EVERY_SESSION, name):
            if latched in self._latched:
                raise Conflict(
                    f"session {name!r} is stopped ({self._latched[latched] or 'no reason given'}): "
                    f"call ReleaseStop with session={latched!r} once it is safe",
                    reason="EMERGENCY_STOP",
                )
        if name in self._running:
            raise AlreadyExists(f"session {name!r} is being driven: end it first, or take another name")
        self._running[name] = asyncio.Event()
        try:
            yield self._running[name]
        finally:
            del self._running[name]

    def stop(self, session: str, reason: str) -> int:
        """Latches a stop (``EVERY_SESSION`` for all) and signals whom it concerns; returns how many ran."""
        if session != EVERY_SESSION:
            check_session(session)
        concerned = [event for name, event in self._running.items() if session in (EVERY_SESSION, name)]
        for event in concerned:
            event.set()
        self._latched[session] = reason
        self._save()
        return len(concerned)

    def release(self, session: str) -> None:
        """Lifts one stop.

        Raises:
            NotFound: none is latched under that name.
        """
        if session not in self._latched:
            known = ", ".join(repr(name) for name in sorted(self._latched)) or "none"
            raise NotFound(f"no stop is latched for session {session!r}; latched: {known}")
        del self._latched[session]
        self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".draft")
        with draft.open("w", encoding="utf-8") as file:
            json.dump(self._latched, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)


def _load(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        latched = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Conflict(f"{path} is not JSON ({error}): see which stops it holds, then remove it") from error
    if not isinstance(latched, dict) or not all(isinstance(reason, str) for reason in latched.values()):
        raise Conflict(f"{path} does not map sessions to reasons: see which stops it holds, then remove it")
    return latched
