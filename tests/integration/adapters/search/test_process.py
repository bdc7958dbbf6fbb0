"""The service as a process: it dies at any moment and leaves its indexes whole."""

import asyncio
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable
from contextlib import closing
from pathlib import Path

from tests.integration.adapters.processes import adapter_process

from seodang.api.search.v1 import search_pb2
from seodang.base.errors import SeodangError
from seodang.client import AsyncClient, Client

INDEX = "indexes/manual"
DOCUMENTS = 60
KILLS = 2


def _batch(generation: int) -> search_pb2.IndexDocumentsRequest:
    text = f"세대 {generation}. " + "훈장이 아이들에게 글을 가르친다. " * 20
    documents = [search_pb2.Document(id=f"d{n}", text=text) for n in range(DOCUMENTS)]
    return search_pb2.IndexDocumentsRequest(index=INDEX, documents=documents)


async def _index_until_killed(address: str, process: subprocess.Popen[bytes], first: int, part: float) -> int:
    """Replaces every document again and again, and kills the server ``part`` of the way through a later request.

    Returns the last generation that was acknowledged.
    """
    acknowledged, took_s = first - 1, 0.0
    async with AsyncClient(address) as client:
        while True:
            start = time.perf_counter()
            writing = asyncio.create_task(_await(client.search.IndexDocuments(_batch(acknowledged + 1))))
            if acknowledged > first:
                await asyncio.sleep(took_s * part)
                process.kill()
            try:
                await writing
            except SeodangError:
                return acknowledged
            acknowledged, took_s = acknowledged + 1, time.perf_counter() - start


async def _await(call: Awaitable[object]) -> None:
    await call


def _generations(state: Path) -> set[int]:
    with closing(sqlite3.connect(state / "manual.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.execute("INSERT INTO term (term) VALUES ('integrity-check')")
        starts = connection.execute("SELECT substr(text, 1, instr(text, '.')) FROM passage WHERE start = 0")
        counts = connection.execute("SELECT (SELECT count(*) FROM term), (SELECT count(*) FROM passage)").fetchone()
        assert counts[0] == counts[1]
        return {int(text.removeprefix("세대 ").rstrip(".")) for (text,) in starts}


async def test_a_process_killed_while_indexing_leaves_one_whole_generation(tmp_path: Path) -> None:
    rng = random.Random(7)
    first = 0
    for _ in range(KILLS):
        with adapter_process("search", tmp_path, student_address="127.0.0.1:1") as (process, address):
            acknowledged = await _index_until_killed(address, process, first, rng.random())
        (generation,) = _generations(tmp_path / "state")
        # The request in flight may have been committed before its acknowledgement was lost.
        assert generation in (acknowledged, acknowledged + 1)
        first = generation + 1
    with adapter_process("search", tmp_path, student_address="127.0.0.1:1") as (_, address), Client(address) as client:
        assert client.search.GetIndex(search_pb2.GetIndexRequest(index=INDEX)).documents == DOCUMENTS


def test_without_a_student_it_searches_and_says_that_it_cannot_answer(tmp_path: Path) -> None:
    with adapter_process("search", tmp_path, student_address="127.0.0.1:1") as (_, address), Client(address) as client:
        client.search.IndexDocuments(_batch(0))
        found = client.search.Query(search_pb2.QueryRequest(index=INDEX, query="훈장"))
        assert len(found.passages) == 10
        events = list(client.search.Answer(search_pb2.AnswerRequest(index=INDEX, question="훈장"), timeout=20))
        assert events[-1].fault.reason == "UNAVAILABLE"


def test_an_unknown_setting_ends_the_process_with_its_name(tmp_path: Path) -> None:
    env = os.environ | {"SEODANG_SEARCH_PASAGES": "3"}
    done = subprocess.run(
        [sys.executable, "-m", "seodang.adapters.search"], env=env, capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "unknown settings SEODANG_SEARCH_PASAGES" in done.stderr
