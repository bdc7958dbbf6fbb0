"""Does search find the right passage, and how fast: our terms beside SQLite's own tokenisers, in one run.

Quality: the questions of KoBEST BoolQ, each asked of all its paragraphs; the one it was written for is the right one.
Speed: the Korean and English paragraphs of Python's documentation, in processor time, which other work on the machine
disturbs least. Reads ``SEODANG_DATA_DIR``.

    python -m benchmarks.search
"""

import gzip
import json
import math
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.result import Chart, Result, Row, machine, versions
from seodang.adapters.search.domain import Document
from seodang.adapters.search.repository import IndexRepository
from seodang.adapters.search.terms import match_expression

SUMMARY = """Which passage answers the question? The questions of KoBEST BoolQ (Korean), each asked of all its
paragraphs: the one it was written for is the right one, so nDCG and recall have one relevant document. The questions
were written while reading the paragraph, so any search by words looks better here than in the wild; what the rows
compare is the tokenisers of one and the same engine, SQLite's FTS5 with BM25. `docs` columns: indexing and searching
the Korean and English paragraphs of Python's documentation. Times are of the processor."""
DEPTH = 10
PASSAGE_CHARACTERS = 320
SPEED_BATCH = 500
SPEED_QUERIES = 300
QUERY_CHARACTERS = 40

Search = Callable[[str], list[str]]


class Ours:
    """The index that the search adapter keeps."""

    def __init__(self, folder: Path) -> None:
        self._indexes = IndexRepository(folder, PASSAGE_CHARACTERS)
        self.path = folder / "bench.db"

    def put(self, documents: list[Document]) -> None:
        self._indexes.put("bench", documents)

    def search(self, query: str) -> list[str]:
        # A document may hold several passages: the best one counts.
        found = self._indexes.search("bench", match_expression(query), 3 * DEPTH)
        return list(dict.fromkeys(passage.document_id for passage in found))[:DEPTH]


class SqliteOwn:
    """SQLite with a tokeniser that comes with it; whole documents, one of the words suffices."""

    def __init__(self, folder: Path, tokenizer: str) -> None:
        self.path = folder / f"{tokenizer}.db"
        self._is_trigram = tokenizer == "trigram"
        self._connection = sqlite3.connect(self.path)
        self._connection.execute(f"CREATE VIRTUAL TABLE term USING fts5 (id UNINDEXED, text, tokenize = '{tokenizer}')")

    def put(self, documents: list[Document]) -> None:
        with self._connection:
            self._connection.executemany("INSERT INTO term VALUES (?, ?)", [(d.id, d.text) for d in documents])

    def search(self, query: str) -> list[str]:
        words = [word for word in query.split() if word.strip("\"'.,?!")]
        if self._is_trigram:
            words = [word[i : i + 3] for word in words for i in range(len(word) - 2)]
        if not words:
            return []
        expression = " OR ".join('"' + word.replace('"', '""') + '"' for word in dict.fromkeys(words))
        sql = "SELECT id FROM term WHERE term MATCH ? ORDER BY rank LIMIT ?"
        return [row[0] for row in self._connection.execute(sql, (expression, DEPTH))]


Engine = Ours | SqliteOwn
ENGINES: dict[str, Callable[[Path], Engine]] = {
    "pairs (ours)": Ours,
    "unicode61": lambda folder: SqliteOwn(folder, "unicode61"),
    "trigram": lambda folder: SqliteOwn(folder, "trigram"),
}


def rows(folder: Path, *names: str) -> Iterator[dict[str, Any]]:
    for name in names:
        path = folder / f"{name}.jsonl.gz"
        if not path.exists():
            sys.exit(f"benchmarks.search: no {path}: let SEODANG_DATA_DIR name the folder of the data sets")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def quality(questions: list[tuple[str, str]], search: Search) -> Row:
    ranks, times_ms = [], []
    for question, right in questions:
        start = time.process_time()
        found = search(question)
        times_ms.append((time.process_time() - start) * 1e3)
        ranks.append(found.index(right) + 1 if right in found else None)
    gains = [1 / math.log2(rank + 1) if rank else 0.0 for rank in ranks]
    return {
        "ndcg_at_10": statistics.fmean(gains),
        "recall_at_1": statistics.fmean(rank == 1 for rank in ranks),
        "recall_at_5": statistics.fmean(rank is not None and rank <= 5 for rank in ranks),
        "query_ms": statistics.median(times_ms),
    }


def speed(documents: list[Document], engine: Engine) -> Row:
    start = time.process_time()
    for at in range(0, len(documents), SPEED_BATCH):
        engine.put(documents[at : at + SPEED_BATCH])
    index_s = time.process_time() - start
    times_ms = []
    for document in documents[:: max(len(documents) // SPEED_QUERIES, 1)]:
        start = time.process_time()
        engine.search(document.text[:QUERY_CHARACTERS])
        times_ms.append((time.process_time() - start) * 1e3)
    text_bytes = sum(len(document.text.encode()) for document in documents)
    return {
        "docs_indexed_mb_per_s": text_bytes / 1e6 / index_s,
        "docs_index_bytes_per_text_byte": engine.path.stat().st_size / text_bytes,
        "docs_query_ms": statistics.median(times_ms),
        "docs_query_p95_ms": statistics.quantiles(times_ms, n=20)[-1],
    }


def main() -> None:
    folder = Path(os.environ.get("SEODANG_DATA_DIR", "../shared/data"))
    before = machine()
    boolq = list(rows(folder, "kobest_boolq_train", "kobest_boolq_dev"))
    texts = list(dict.fromkeys(row["Text"] for row in boolq))
    ids = {text: f"p{number}" for number, text in enumerate(texts)}
    paragraphs = [Document(ids[text], "", text) for text in texts]
    questions = [(row["Question"], ids[row["Text"]]) for row in boolq]
    python_docs = [text for row in rows(folder, "python_docs_koen") for text in (row["ko"], row["en"]) if text.strip()]
    docs = [Document(f"d{number}", "", text) for number, text in enumerate(python_docs)]
    found: list[Row] = []
    for name, make in ENGINES.items():
        with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as large:
            engine = make(Path(small))
            engine.put(paragraphs)
            found.append({"tokeniser": name, **quality(questions, engine.search), **speed(docs, make(Path(large)))})
        print(found[-1], flush=True)
    Result(
        name="search",
        title="Search: tokenisers for Korean",
        summary=SUMMARY,
        command="python -m benchmarks.search",
        rows=found,
        machine=before,
        versions=versions() | {"sqlite": sqlite3.sqlite_version},
        charts=[Chart("Right passage, and its rank (nDCG at 10)", value="ndcg_at_10", label="tokeniser")],
    ).write()


if __name__ == "__main__":
    main()
