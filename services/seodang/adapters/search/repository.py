"""Indexes on disk, one SQLite file each, so that they grow, lock and rank apart from one another.

Every write is one transaction: a process that dies in the middle leaves the index as it was before. Readers go on
while one writer writes. The functions block; ``service`` calls them in threads.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seodang.adapters.search.domain import Document, IndexSize, Passage, Span
from seodang.adapters.search.passages import split
from seodang.adapters.search.tables import CREATE, VERSION
from seodang.adapters.search.terms import terms
from seodang.base.errors import Conflict, Exhausted, NotFound

# Another process may hold the write lock for as long as it indexes one request.
_LOCK_TIMEOUT_S: Final = 20.0

# The inner query ranks before it joins, so that only the rows of the page are looked up.
_SEARCH = """
    SELECT document.id, document.title, document.uri, passage.text, passage.start, passage."end", hit.score
    FROM (
        SELECT rowid AS number, -bm25(term) AS score FROM term WHERE term MATCH :expression
        ORDER BY bm25(term), rowid LIMIT :limit OFFSET :offset
    ) AS hit
    JOIN passage ON passage.number = hit.number
    JOIN document ON document.number = passage.document
    ORDER BY hit.score DESC, hit.number
"""


@dataclass(frozen=True, slots=True)
class IndexRepository:
    """The indexes in a folder; ``passage_characters`` is the longest passage of documents put in."""

    folder: Path
    passage_characters: int

    def put(self, index: str, documents: Sequence[Document]) -> IndexSize:
        """Adds or replaces documents, all of them or none; says how many documents and passages they are."""
        with self._writing(index) as connection:
            self._remove(connection, [document.id for document in documents])
            passages = sum(self._insert(connection, document) for document in documents)
        return IndexSize(len(documents), passages)

    def delete(self, index: str, ids: Sequence[str]) -> int:
        """Removes the documents that exist; says how many did.

        Raises:
            NotFound: there is no such index.
        """
        self.size(index)
        with self._writing(index) as connection:
            return self._remove(connection, ids)

    def search(self, index: str, expression: str, limit: int, offset: int = 0) -> list[Passage]:
        """Passages that a full-text expression matches, best first.

        Raises:
            NotFound: there is no such index.
        """
        with self._reading(index) as connection:
            rows = connection.execute(_SEARCH, {"expression": expression, "limit": limit, "offset": offset})
            return [
                Passage(document_id, title, uri, text, Span(start, end), score)
                for document_id, title, uri, text, start, end, score in rows
            ]

    def size(self, index: str) -> IndexSize:
        """How much an index holds.

        Raises:
            NotFound: there is no such index.
        """
        with self._reading(index) as connection:
            row = connection.execute("SELECT (SELECT count(*) FROM document), (SELECT count(*) FROM passage)")
            return IndexSize(*row.fetchone())

    def _insert(self, connection: sqlite3.Connection, document: Document) -> int:
        number = connection.execute(
            "INSERT INTO document (id, title, uri, metadata) VALUES (?, ?, ?, ?)",
            (document.id, document.title, document.uri, json.dumps(dict(document.metadata), ensure_ascii=False)),
        ).lastrowid
        title_terms = terms(document.title)
        spans = split(document.text, self.passage_characters)
        for span in spans:
            text = document.text[span.start : span.end]
            passage = connection.execute(
                'INSERT INTO passage (document, text, start, "end") VALUES (?, ?, ?, ?)',
                (number, text, span.start, span.end),
            ).lastrowid
            connection.execute(
                "INSERT INTO term (rowid, terms) VALUES (?, ?)", (passage, " ".join([*title_terms, *terms(text)]))
            )
        return len(spans)

    def _remove(self, connection: sqlite3.Connection, ids: Sequence[str]) -> int:
        removed = 0
        for document_id in ids:
            row = connection.execute("SELECT number FROM document WHERE id = ?", (document_id,)).fetchone()
            if row is None:
                continue
            connection.execute("DELETE FROM term WHERE rowid IN (SELECT number FROM passage WHERE document = ?)", row)
            connection.execute("DELETE FROM passage WHERE document = ?", row)
            connection.execute("DELETE FROM document WHERE number = ?", row)
            removed += 1
        return removed

    @contextmanager
    def _writing(self, index: str) -> Iterator[sqlite3.Connection]:
        """One transaction, which makes the tables where there are none yet."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with closing(self._connect(index, "rwc")) as connection:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                    raise
                raise Exhausted(
                    f"indexes/{index} is being written by another process for over {_LOCK_TIMEOUT_S:g} s: try again",
                    reason="INDEX_LOCKED",
                ) from error
            with connection:
                if self._version(connection) == 0:
                    for statement in CREATE:
                        connection.execute(statement)
                self._check_version(index, connection)
                yield connection

    @contextmanager
    def _reading(self, index: str) -> Iterator[sqlite3.Connection]:
        """A view of the index that no writer changes."""
        if not self._path(index).exists():
            raise self._not_found(index)
        with closing(self._connect(index, "rw")) as connection:
            # A writer that died before its first commit leaves a file without tables.
            if self._version(connection) == 0:
                raise self._not_found(index)
            self._check_version(index, connection)
            yield connection

    def _connect(self, index: str, mode: str) -> sqlite3.Connection:
        uri = f"{self._path(index).absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(uri, uri=True, timeout=_LOCK_TIMEOUT_S, isolation_level=None)

    def _path(self, index: str) -> Path:
        return self.folder / f"{index}.db"

    def _version(self, connection: sqlite3.Connection) -> int:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])

    def _check_version(self, index: str, connection: sqlite3.Connection) -> None:
        version = self._version(connection)
        if version != VERSION:
            raise Conflict(
                f"indexes/{index} was made by version {version} of the index, this server reads version {VERSION}: "
                f"remove {self._path(index)} and index the documents again",
                metadata={"index": f"indexes/{index}"},
            )

    def _not_found(self, index: str) -> NotFound:
        return NotFound(f"there is no indexes/{index}: IndexDocuments makes it", metadata={"index": f"indexes/{index}"})
