"""A SQLite connection that lets go of its locks when it closes."""

import sqlite3
from typing import Any
from weakref import WeakSet


class Connection(sqlite3.Connection):
    """Closes its cursors first; pass it to a driver as ``factory``.

    SQLite keeps a closed connection, with its transaction and locks, for as long as one of its statements lives, and a
    coroutine that was cancelled within a statement leaves that to the garbage collector. Until then every other writer
    is told that the database is locked.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        """A cursor as :meth:`sqlite3.Connection.cursor` makes it."""
        cursor = super().cursor(*args, **kwargs)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        """Ends every statement, rolls back what is not committed, and closes."""
        for cursor in list(self._cursors):
            cursor.close()
        super().close()
