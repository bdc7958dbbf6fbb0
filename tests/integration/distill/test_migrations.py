"""Migrations against real databases: what they make is what the tables say, forwards and backwards."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncEngine

from seodang.base.errors import Conflict, InvalidInput, Unavailable
from seodang.distill.database.engine import open_engine
from seodang.distill.database.migrate import config_for, migrate
from seodang.distill.database.tables import Base
from seodang.distill.database.unit_of_work import open_database


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    opened = open_engine(database_url)
    yield opened
    await opened.dispose()


async def test_the_migrations_make_the_tables_that_the_code_expects(engine: AsyncEngine) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), Base.metadata))

    await migrate(engine)
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(engine: AsyncEngine) -> None:
    assert await migrate(engine) == await migrate(engine) == "r0002"


async def test_two_servers_that_start_at_once_migrate_once(engine: AsyncEngine) -> None:
    assert set(await asyncio.gather(*(migrate(engine) for _ in range(4)))) == {"r0002"}


async def test_a_migration_can_be_taken_back(engine: AsyncEngine) -> None:
    await migrate(engine)
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: command.downgrade(config_for(sync), "base"))
    async with engine.connect() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).get_table_names()) == ["alembic_version"]
    assert await migrate(engine) == "r0002"


async def test_a_database_of_a_newer_version_is_refused(engine: AsyncEngine) -> None:
    await migrate(engine)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'r9999'"))
    with pytest.raises(Conflict, match="newer Seodang"):
        await migrate(engine)


@pytest.mark.parametrize("url", ["", "jobs.db", "mysql://localhost/jobs", "sqlite", "postgresql+pg8000://x/y"])
def test_a_url_of_no_known_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="database_url="):
        open_engine(url)


async def test_a_database_that_does_not_answer_is_named() -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:9/jobs cannot be opened"):
        async with open_database("postgresql://someone:secret@127.0.0.1:9/jobs"):
            pass


async def test_a_password_is_never_told() -> None:
    with pytest.raises(Unavailable) as caught:
        async with open_database("postgresql://someone:secret@127.0.0.1:9/jobs"):
            pass
    assert "secret" not in caught.value.message


async def test_a_second_server_on_one_postgresql_database_is_refused(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database_url.startswith("postgresql"):
        pytest.skip("SQLite's file is held by the lock of the state folder")
    monkeypatch.setattr("seodang.distill.database.ownership._ATTEMPTS", 1)
    async with open_database(database_url):
        with pytest.raises(Conflict, match="another distillation server"):
            async with open_database(database_url):
                pass
    async with open_database(database_url):
        pass
