"""Child processes that never outlive their parent."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO, Final

# Runs between the child's start and its program. It is a program of its own, not a function to be called in a fork of
# this process: a fork of a process with threads (gRPC's) may only exec, or it can hang on a lock that nobody holds.
_TETHER: Final = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent died before its child began")
try:
    os.execvp(sys.argv[2], sys.argv[2:])
except OSError as error:
    sys.exit(f"{sys.argv[2]} cannot be started: {error.strerror}")
"""


def tethered(command: Sequence[str]) -> list[str]:
    """The command as that of a child which the kernel (Linux) kills when this process dies, however it dies."""
    return [sys.executable, "-I", "-S", "-c", _TETHER, str(os.getpid()), *command]


async def start_child(command: Sequence[str], env: Mapping[str, str], log: IO[bytes]) -> asyncio.subprocess.Process:
    """Starts a process that the kernel (Linux) kills when this one dies, however it dies.

    It gets a session of its own, so that a Ctrl-C in the terminal reaches only its parent. Call it from the thread that
    lives longest: the kernel takes the end of the calling thread for the end of the parent.
    """
    return await asyncio.create_subprocess_exec(
        *tethered(command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**os.environ, **env},
        start_new_session=True,
    )


async def stop_child(process: asyncio.subprocess.Process, grace_s: float) -> None:
    """Asks with SIGTERM, and kills the whole session of the process when ``grace_s`` seconds are over."""
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        with suppress(ProcessLookupError):  # it is gone, and the event loop has not heard of it yet
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
