"""The connection to SQLite or PostgreSQL, with the pragmas and transaction modes that make both behave alike."""

from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from seodang.base import sqlite
from seodang.base.errors import InvalidInput

_POSTGRESQL, _SQLITE = "postgresql+psycopg", "sqlite+aiosqlite"
_DRIVERS = {
    "postgresql": _POSTGRESQL,
    "postgres": _POSTGRESQL,
    _POSTGRESQL: _POSTGRESQL,
    "sqlite": _SQLITE,
    _SQLITE: _SQLITE,
}
_LOCK_TIMEOUT_S = 30


def open_engine(database_url: str) -> AsyncEngine:
    """An engine for ``sqlite:///path/to/file`` or ``postgresql://user:password@host:port/database``.

    Raises:
        InvalidInput: the URL names no database of these two kinds.
    """
    url = _with_driver(database_url)
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_pre_ping=True, pool_size=10)
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_async_engine(url, connect_args={"timeout": _LOCK_TIMEOUT_S, "factory": sqlite.Connection})
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def for_writing(engine: AsyncEngine) -> AsyncEngine:
    """The same engine, whose transactions take SQLite's write lock at once.

    A transaction that reads first and writes later would be refused there instead of waiting its turn.
    """
    return engine.execution_options(sqlite_begin="BEGIN IMMEDIATE")


async def wipe(engine: AsyncEngine) -> None:
    """Empties SQLite's write-ahead log, which still holds what was deleted; readers under way may put it off.

    PostgreSQL reuses the space of deleted rows when it next vacuums.
    """
    if engine.url.get_backend_name() != "sqlite":
        return
    async with engine.connect() as connection:
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await (await raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")).close()


def _with_driver(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise InvalidInput(f"database_url={database_url!r} is not a URL, such as sqlite:///jobs.db") from error
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise InvalidInput(f"database_url={url.render_as_string()!r}: begin it with sqlite:/// or postgresql://")
    return url.set(drivername=driver)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions by itself, too late; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))
