"""A closed connection holds nothing."""

import sqlite3
from pathlib import Path

import pytest

from seodang.base import sqlite


def test_a_statement_that_nobody_ended_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "kept.db"
    connection = sqlite3.connect(path, isolation_level=None, factory=sqlite.Connection)
    connection.execute("CREATE TABLE kept (n INTEGER)")
    connection.execute("BEGIN")
    left = connection.cursor()
    left.execute("INSERT INTO kept VALUES (1), (2) RETURNING n")
    connection.close()
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    assert other.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    other.execute("INSERT INTO kept VALUES (3)")
    other.close()
    with pytest.raises(sqlite3.ProgrammingError):
        left.fetchone()
