"""Brings a database to the tables of this version, whatever version made it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.util import CommandError
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from seodang.base.errors import Conflict
from seodang.distill.database.engine import for_writing

# Any number will do, as long as every server of one database uses the same one.
_ADVISORY_LOCK = 0x5E0DA116


async def migrate(engine: AsyncEngine) -> str:
    """Applies the migrations that the database lacks, in one transaction; returns the revision it now has.

    Raises:
        Conflict: a newer version of Seodang made the database.
    """
    async with for_writing(engine).begin() as connection:
        return await connection.run_sync(_upgrade)


def config_for(connection: Connection) -> Config:
    """Alembic's configuration for the migrations of this package, run through ``connection``."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> str:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    try:
        command.upgrade(config_for(connection), "head")
    except CommandError as error:
        raise Conflict(
            f"the database cannot be brought to this version: {error}. A newer Seodang may have made it: "
            "start that version, or point SEODANG_DISTILL_DATABASE_URL at another database"
        ) from error
    return MigrationContext.configure(connection).get_current_revision() or ""
