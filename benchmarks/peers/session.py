"""One process of one engine: started, listened to with a limit, looked at, and ended with everything it started."""

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from benchmarks.peers.work import Work

LOG_TAIL_CHARACTERS = 400


class PeerFailed(Exception):
    """An engine could not be installed, started, or did not finish; the text says why."""


class Session:
    """A context: the process lives inside of it."""

    def __init__(self, python: Path, module: str, work: Work, folder: Path, limit_s: float) -> None:
        """
        Args:
            python: of the engine's environment.
            folder: for the work's description and the log.
            limit_s: over the whole session, loading included.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"{module}.log"
        work.write(folder / f"{module}.json")
        self._reading, writing = os.pipe()
        self.started_s = time.monotonic()
        self._end_s = self.started_s + limit_s
        self._limit_s = limit_s
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, "-m", f"benchmarks.peers.{module}", folder / f"{module}.json", str(writing)],
                stdin=subprocess.PIPE, stdout=log, stderr=log, pass_fds=(writing,), start_new_session=True,
                cwd=Path(__file__).parents[2], env=_environment(work.threads),
            )  # fmt: skip
        os.close(writing)
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        os.close(self._reading)

    def events(self) -> Iterator[dict[str, Any]]:
        """Until it says that it is done.

        Raises:
            PeerFailed: it ended before, or the limit is reached.
        """
        received = b""
        while True:
            line, newline, rest = received.partition(b"\n")
            if newline:
                received = rest
                event: dict[str, Any] = json.loads(line)
                if event["event"] == "done":
                    return
                yield event
                continue
            remaining_s = self._end_s - time.monotonic()
            if remaining_s <= 0 or not select.select([self._reading], [], [], remaining_s)[0]:
                raise PeerFailed(f"not done within {self._limit_s:g} s{self._log_tail()}")
            more = os.read(self._reading, 65536)
            if not more:
                raise PeerFailed(f"ended with status {self._process.wait()}{self._log_tail()}")
            received += more

    def peak_bytes(self) -> int:
        """Resident memory at its highest, summed over the engine's processes."""
        peak = 0
        for pid in self._pids():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        peak += int(line.split()[1]) * 1024
        return peak

    def _pids(self) -> list[int]:
        """All processes of the session that the engine leads, however deep."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                # After the command's name in brackets: state, parent, group, session.
                if int((entry / "stat").read_text().rpartition(")")[2].split()[3]) == self.pid:
                    found.append(int(entry.name))
        return found

    def _log_tail(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1][:LOG_TAIL_CHARACTERS]}" if lines else ""


def _environment(threads: int) -> dict[str, str]:
    """No engine sees another's settings; all are told the same number of threads."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SEODANG_", "PYTHON"))}
    return kept | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
