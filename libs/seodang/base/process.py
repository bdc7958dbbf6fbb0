"""How every process of the platform begins and ends: logs, one event loop, and a readable last word."""

import asyncio
import logging
import sys
from collections.abc import Coroutine
from typing import Any

from seodang.base.errors import SeodangError


def run_process(name: str, work: Coroutine[Any, Any, None]) -> None:
    """Runs ``work`` to its end; an error of the platform's tree ends the process with status 2 and its message."""
    configure_logs(name)
    try:
        asyncio.run(work)
    except SeodangError as error:
        logging.getLogger(name).error("%s", error.message)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def configure_logs(name: str, level: int = logging.INFO) -> None:
    """One line an event on standard error, with the process's name."""
    logging.basicConfig(
        level=level, format=f"%(asctime)s {name} %(levelname).1s %(name)s: %(message)s", stream=sys.stderr, force=True
    )
