"""Ends the command's work on SIGINT or SIGTERM, so that everything it started is stopped on the way out."""

import asyncio
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console

from seodang.base.errors import SeodangError


def run_until_stopped(work: Coroutine[Any, Any, None], console: Console) -> None:
    """Runs ``work``; the first SIGINT or SIGTERM cancels it and its context managers clean up. Exits the process:
    0 when done, 130 when stopped, 2 with the message of an error of the platform's tree."""
    with reported(console):
        try:
            asyncio.run(_cancelled_by_signal(work))
        except asyncio.CancelledError:
            console.print("[dim]Stopped; nothing is left running.[/dim]")
            sys.exit(130)


@contextmanager
def reported(console: Console) -> Iterator[None]:
    """Ends the process with status 2 and the message of an error of the platform's tree."""
    try:
        yield
    except SeodangError as error:
        console.print(error.message, style="red", markup=False, soft_wrap=True)
        sys.exit(2)


async def forever() -> None:
    """Waits until the work is cancelled."""
    await asyncio.Event().wait()


async def _cancelled_by_signal(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    await task
