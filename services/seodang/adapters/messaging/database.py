"""The SQLite file behind the repository, and the lock that gives it one owner."""

import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from seodang.adapters.messaging.tables import Base
from seodang.base import sqlite
from seodang.base.errors import Conflict

# Counts up when the tables change.
VERSION: Final = 1


@asynccontextmanager
async def open_database(state_dir: Path) -> AsyncIterator[AsyncEngine]:
    """The database of a folder, with its tables; this process alone has it until the context ends.

    Raises:
        Conflict: another process has it, or another version of the service made it.
    """
    with _owned(state_dir):
        url = f"sqlite+aiosqlite:///{(state_dir / 'messages.db').absolute()}"
        # One connection: transactions take turns in order, where SQLite's own lock would let the lucky one in.
        engine = create_async_engine(url, pool_size=1, max_overflow=0, connect_args={"factory": sqlite.Connection})
        event.listen(engine.sync_engine, "connect", _prepare)
        event.listen(engine.sync_engine, "begin", _begin)
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_make_tables, state_dir)
            yield engine
        finally:
            await engine.dispose()


@contextmanager
def _owned(state_dir: Path) -> Iterator[None]:
    """Two senders of one outbox would send replies twice, so the second process does not begin."""
    state_dir.mkdir(parents=True, exist_ok=True)
    with (state_dir / "owner.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"{state_dir} belongs to a running messaging service: stop it or use another folder"
            ) from error
        yield


def _make_tables(connection: Connection, state_dir: Path) -> None:
    found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if found not in (0, VERSION):
        raise Conflict(f"{state_dir} was made by version {found} of the service, this is {VERSION}: use another folder")
    Base.metadata.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")


def _prepare(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, too late; `_begin` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
