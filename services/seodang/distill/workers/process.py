"""Workers as processes of this machine, one from its start to its end."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from seodang.base.children import start_child
from seodang.base.errors import InternalFault
from seodang.distill.workers.launcher import Errand, Mishap, follow, mishap_of
from seodang.distillation import EXIT_FAULT, JobFolder, read_fault
from seodang.rpc import to_fault

_LOG_TAIL_BYTES: Final = 2000


def log_path(folder: JobFolder) -> Path:
    """Where the workers of a job write what they print."""
    return folder.root / "worker.log"


class ProcessLauncher:
    """Runs ``command JOB_DIR``, and looks for its events every ``poll_interval_s`` seconds."""

    def __init__(self, command: Sequence[str], poll_interval_s: float) -> None:
        self._command = command
        self._poll_interval_s = poll_interval_s

    async def work_on(self, errand: Errand) -> Mishap | None:
        """As the protocol says.

        The process has a session of its own and dies with this one, however this one dies. However this function is
        left, nothing of the process group runs on.
        """
        if errand.stop.is_set():
            return None
        await errand.begin()
        folder = errand.folder
        # What an earlier process gave up for is no longer true; a new one may die before it can say so itself.
        folder.fault.unlink(missing_ok=True)
        with log_path(folder).open("ab") as log:
            process = await start_child([*self._command, str(folder.root)], {}, log)
        end = asyncio.ensure_future(process.wait())
        try:
            await follow(end, errand, self._poll_interval_s)
        finally:
            end.cancel()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
        await errand.intake.take_in()
        if errand.stop.is_set() or folder.result.exists():
            return None
        return await asyncio.to_thread(_mishap, folder, process.returncode or 0)


def _mishap(folder: JobFolder, returncode: int) -> Mishap:
    if returncode == EXIT_FAULT and folder.fault.exists():
        return mishap_of(read_fault(folder.fault))
    how = f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with status {returncode}"
    hint = " (the system does that when memory runs out)" if returncode == -signal.SIGKILL else ""
    error = InternalFault(
        f"the worker {how}{hint} without a result. The end of {log_path(folder)}: {_tail(log_path(folder))}",
        reason="WORKER_DIED",
        metadata={"log": str(log_path(folder)), "returncode": str(returncode)},
    )
    return Mishap(to_fault(error), retriable=True)


def _tail(path: Path) -> str:
    with path.open("rb") as log:
        size = log.seek(0, os.SEEK_END)
        log.seek(max(0, size - _LOG_TAIL_BYTES))
        return log.read().decode(errors="replace").strip() or "(nothing)"
