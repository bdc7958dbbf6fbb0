"""The tables of one index file. ``passage`` numbers are the row ids of ``term``, the full-text table."""

from typing import Final

# Counts up with every change of the tables or of ``terms.terms``: an index of another version must be made again.
VERSION: Final = 1

CREATE: Final = (
    """
    CREATE TABLE document (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        title TEXT NOT NULL,
        uri TEXT NOT NULL,
        metadata TEXT NOT NULL
    )
    """,
    """
    CREATE TABLE passage (
        number INTEGER PRIMARY KEY,
        document INTEGER NOT NULL REFERENCES document (number),
        text TEXT NOT NULL,
        start INTEGER NOT NULL,
        "end" INTEGER NOT NULL
    )
    """,
    "CREATE INDEX passage_document ON passage (document)",
    # Terms come ready-made, joined by spaces: the ascii tokeniser parts them there and leaves other letters alone.
    "CREATE VIRTUAL TABLE term USING fts5 (terms, tokenize = 'ascii')",
    f"PRAGMA user_version = {VERSION}",
)
