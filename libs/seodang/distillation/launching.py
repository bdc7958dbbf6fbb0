"""The ranks of a job on this machine: a process each, started together, ended together.

On several machines torchrun does the same, and each process finds the same variables.
"""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from contextlib import suppress
from typing import Final

from torch._C._distributed_c10d import TCPStore

from seodang.base.children import start_child
from seodang.distillation.folder import EXIT_DONE, JobFolder
from seodang.distillation.group import RankLost

_HERE: Final = "127.0.0.1"


async def run_ranks(folder: JobFolder, ranks: int, threads: int) -> int:
    """Works on a job with so many processes; returns the exit status of the one that ended it.

    The kernel kills them when this process dies, and they are killed when one of them fails.

    Args:
        threads: of each; 0 shares the cores.

    Raises:
        RankLost: one of them was killed.
    """
    # They meet at a store of this process, so that nobody has to guess a free port.
    store = TCPStore(_HERE, 0, is_master=True, wait_for_workers=False)
    environment = {
        "MASTER_ADDR": _HERE,
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": str(ranks),
        "OMP_NUM_THREADS": str(threads or max(1, (os.cpu_count() or 1) // ranks)),
    }
    command = [sys.executable, "-m", "seodang.distillation", str(folder.root)]
    processes: list[Process] = []
    try:
        for rank in range(ranks):
            seat = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(await start_child(command, environment | seat, sys.stderr.buffer))
        return await _end_of(processes)
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                process.kill()
        for process in processes:
            await process.wait()


async def _end_of(processes: list[Process]) -> int:
    """The exit status of rank 0, or of the first that failed."""
    waits = {asyncio.create_task(process.wait()): rank for rank, process in enumerate(processes)}
    running = set(waits)
    while True:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for status, rank in sorted((task.result(), waits[task]) for task in done):
            if status < 0:
                raise RankLost(
                    f"rank {rank} (process {processes[rank].pid}) was killed by {signal.Signals(-status).name}, and "
                    "the others were stopped"
                )
            if status != EXIT_DONE or rank == 0:
                return status
