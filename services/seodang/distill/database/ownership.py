"""One server for one state: two that worked on the same jobs would start every job twice."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from seodang.base.errors import Conflict

_ADVISORY_LOCK: Final = 0x5E0DA117
_ATTEMPTS: Final = 20
_PAUSE_S: Final = 0.5


@contextmanager
def owned_folder(folder: Path) -> Iterator[None]:
    """Holds the state folder for this process; it is made if it is not there.

    Raises:
        Conflict: another server holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another distillation server works in {folder.absolute()}: stop it, or give this one a folder of its "
                "own by SEODANG_DISTILL_STATE_DIR"
            ) from error
        yield


@asynccontextmanager
async def owned_database(engine: AsyncEngine) -> AsyncIterator[None]:
    """Holds a PostgreSQL database for this process; SQLite's file is in the state folder, which is held already.

    PostgreSQL notices only after a moment that an earlier server is gone, so this waits a little.

    Raises:
        Conflict: another server holds it.
    """
    if engine.dialect.name != "postgresql":
        yield
        return
    async with engine.connect() as connection:
        connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
        for _ in range(_ATTEMPTS):
            if await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK}):
                yield
                return
            await asyncio.sleep(_PAUSE_S)
    raise Conflict(
        f"another distillation server works with {engine.url.render_as_string()}: stop it, or give this one a database "
        "of its own by SEODANG_DISTILL_DATABASE_URL"
    )
