"""One transaction with everything that is kept; what is not committed did not happen."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from seodang.base.errors import Unavailable
from seodang.distill.capture.repository import CaptureRepository, DatasetRepository
from seodang.distill.database.engine import for_writing, open_engine, wipe
from seodang.distill.database.migrate import migrate
from seodang.distill.database.ownership import owned_database
from seodang.distill.jobs.repository import CurveRepository, JobRepository
from seodang.distill.registry.repository import AliasRepository, VersionRepository


class UnitOfWork:
    """Repositories that share a transaction. Use it as an async context manager: leaving it rolls back whatever was
    not committed.

    Raises:
        Unavailable: the database does not answer.
    """

    jobs: JobRepository
    curves: CurveRepository
    versions: VersionRepository
    aliases: AliasRepository
    captures: CaptureRepository
    datasets: DatasetRepository

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def __aenter__(self) -> Self:
        self._session = AsyncSession(self._engine, expire_on_commit=False)
        self.jobs = JobRepository(self._session)
        self.curves = CurveRepository(self._session)
        self.versions = VersionRepository(self._session)
        self.aliases = AliasRepository(self._session)
        self.captures = CaptureRepository(self._session)
        self.datasets = DatasetRepository(self._session)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Shielded, so that a call that is cancelled while it leaves still gives its connection back.
        await asyncio.shield(asyncio.ensure_future(self._session.close()))
        if isinstance(error, OperationalError | InterfaceError | PoolTimeout):
            raise Unavailable(f"the database does not answer: {error.args[0]}; try again", retry_after_s=2.0) from error

    async def commit(self) -> None:
        """Makes the changes so far count."""
        await self._session.commit()


class Database:
    """SQLite or PostgreSQL with this version's tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._write_engine = for_writing(engine)

    def read(self) -> UnitOfWork:
        """A unit of work that only looks."""
        return UnitOfWork(self._engine)

    def write(self) -> UnitOfWork:
        """A unit of work that may change things."""
        return UnitOfWork(self._write_engine)

    async def wipe(self) -> None:
        """Takes what was deleted off the disk too, as far as the database lets itself be told."""
        await wipe(self._engine)


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    """The database of ``sqlite:///path`` or ``postgresql://user:password@host:port/database``, brought to this
    version's tables and held for this process alone.

    Raises:
        InvalidInput: the URL names no such database.
        Unavailable: it does not answer.
        Conflict: another server holds it, or a newer version made it.
    """
    engine = open_engine(url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        try:
            await stack.enter_async_context(owned_database(engine))
            await migrate(engine)
        except OperationalError as error:
            shown = engine.url.render_as_string()
            raise Unavailable(f"the database {shown} cannot be opened: {error.args[0]}") from error
        yield Database(engine)
