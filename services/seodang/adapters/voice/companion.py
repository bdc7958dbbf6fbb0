"""The engines that come with the platform, each a process of its own that is started again when it dies."""

import asyncio
import contextlib
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from seodang.base.children import start_child, stop_child
from seodang.base.errors import Unavailable

log = logging.getLogger(__name__)

_START_TIMEOUT_S = 120.0
_STOP_GRACE_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
_LOG_TAIL_CHARACTERS = 600


@asynccontextmanager
async def companion(module: str, arguments: Sequence[str], sockets: Path, logs: Path) -> AsyncIterator[str]:
    """Runs ``python -m module`` as a Wyoming server on a socket of its own; yields the server's URI.

    Raises:
        Unavailable: it did not start; the message has the end of what it said.
    """
    name = module.rpartition(".")[2]
    socket, log_path = sockets / f"{name}.sock", logs / f"{name}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log_path.write_bytes(b"")
    uri = f"unix://{socket}"
    command = [sys.executable, "-m", module, "--uri", uri, *arguments]
    process = await _started(name, command, socket, log_path)
    keeping = asyncio.create_task(_keep(name, command, socket, log_path, process))
    try:
        yield uri
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping


async def _keep(
    name: str, command: Sequence[str], socket: Path, log_path: Path, process: asyncio.subprocess.Process
) -> None:
    """Starts the process again whenever it ends, with longer pauses while it fails; stops it when cancelled."""
    pause_s = _FIRST_PAUSE_S
    try:
        while True:
            status = await process.wait()
            log.warning("the %s ended with status %d: starting it again in %g s", name, status, pause_s)
            await asyncio.sleep(pause_s)
            try:
                process = await _started(name, command, socket, log_path)
                pause_s = _FIRST_PAUSE_S
            except Unavailable as error:
                log.error("%s", error)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
    finally:
        await stop_child(process, _STOP_GRACE_S)


async def _started(name: str, command: Sequence[str], socket: Path, log_path: Path) -> asyncio.subprocess.Process:
    """A new process that takes connections."""
    _remove(socket)
    with log_path.open("ab") as log_file:
        process = await start_child(command, {}, log_file)
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not await _listens(socket):
                if process.returncode is not None:
                    raise Unavailable(
                        f"the {name} ended with status {process.returncode} before it served: {_last_words(log_path)}"
                    )
                await asyncio.sleep(0.02)
    except BaseException as error:
        await stop_child(process, _STOP_GRACE_S)
        if isinstance(error, TimeoutError):
            raise Unavailable(f"the {name} did not serve within {_START_TIMEOUT_S:g} s: see {log_path}") from None
        raise
    return process


async def _listens(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(socket)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


def _remove(socket: Path) -> None:
    socket.unlink(missing_ok=True)


def _last_words(log_path: Path) -> str:
    return log_path.read_text(errors="replace")[-_LOG_TAIL_CHARACTERS:].strip()
