"""One worker process, from its start to its end."""

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from seodang.api.types.v1 import fault_pb2
from seodang.base.children import start_child
from seodang.base.errors import InternalFault, Unavailable
from seodang.distill.workers.intake import EventIntake
from seodang.distillation import EXIT_FAULT, JobFolder, read_fault
from seodang.rpc import to_fault

_LOG_TAIL_BYTES: Final = 2000


@dataclass(frozen=True)
class Mishap:
    """Why a process ended without a result, and whether another one may do better."""

    fault: fault_pb2.Fault
    retriable: bool


def log_path(folder: JobFolder) -> Path:
    """Where the workers of a job write what they print."""
    return folder.root / "worker.log"


async def work_on(
    folder: JobFolder, command: Sequence[str], intake: EventIntake, stop: asyncio.Event, poll_interval_s: float
) -> Mishap | None:
    """Runs ``command JOB_DIR`` and takes its events in while it runs; None if it was stopped or left a result.

    The process has a session of its own and dies with this one, however this one dies. However this function is left,
    nothing of the process group runs on.
    """
    # What an earlier process gave up for is no longer true; a new one may die before it can say so itself.
    folder.fault.unlink(missing_ok=True)
    with log_path(folder).open("ab") as log:
        process = await start_child([*command, str(folder.root)], {}, log)
    waits: set[asyncio.Future[Any]] = {asyncio.ensure_future(process.wait()), asyncio.ensure_future(stop.wait())}
    try:
        done: set[asyncio.Future[Any]] = set()
        while not done:
            done, _ = await asyncio.wait(waits, timeout=poll_interval_s, return_when=asyncio.FIRST_COMPLETED)
            # While the database is away the worker goes on; its lines wait in the file.
            with suppress(Unavailable):
                await intake.take_in()
    finally:
        for wait in waits:
            wait.cancel()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())
    await intake.take_in()
    if stop.is_set() or folder.result.exists():
        return None
    return await asyncio.to_thread(_mishap, folder, process.returncode or 0)


def _mishap(folder: JobFolder, returncode: int) -> Mishap:
    if returncode == EXIT_FAULT and folder.fault.exists():
        record = read_fault(folder.fault)
        return Mishap(to_fault(record.error()), record.retriable or record.reason == "JOB_RUNNING")
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
