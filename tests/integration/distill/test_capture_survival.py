"""The server is killed again and again while exchanges stream in and versions are frozen."""

import asyncio
import json
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from tests.integration.distill.exchanges import allow, append, exchange, freeze, versions
from tests.integration.distill.server_process import ServerProcess, server_process

from seodang.base.errors import DeadlineExpired, NotFound, Unavailable
from seodang.client import AsyncClient
from seodang.distill.settings import DistillSettings

KILLS = 5
BATCH = 10


async def stream_in(server: ServerProcess, first: int, acknowledged: set[int]) -> None:
    """Appends and freezes until the server is gone."""
    with suppress(Unavailable, DeadlineExpired, NotFound):
        async with AsyncClient(server.address) as client:
            for number in range(first, first + 10_000, BATCH):
                await append(client, *(exchange(str(n), f"질문 {n}") for n in range(number, number + BATCH)))
                acknowledged.update(range(number, number + BATCH))
                if number % (5 * BATCH) == 0:
                    await freeze(client)


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_nothing_acknowledged_is_lost_or_doubled_and_no_torn_line_is_ever_read(
    settings: DistillSettings, tmp_path: Path
) -> None:
    acknowledged: set[int] = set()
    async with server_process(settings, tmp_path) as server:
        async with AsyncClient(server.address) as client:
            await allow(client)
        for kill in range(KILLS):
            streaming = asyncio.create_task(stream_in(server, 100_000 * kill, acknowledged))
            await asyncio.sleep(0.3 + 0.17 * kill)
            await server.end(signal.SIGKILL)
            await streaming
            read_all(settings.state_dir)
            await server.start()
        assert len(acknowledged) > KILLS * BATCH
        async with AsyncClient(server.address) as client:
            again = await append(client, *(exchange(str(n), f"질문 {n}") for n in sorted(acknowledged)))
            assert (again.stored, again.duplicates) == (0, len(acknowledged))
            last = await freeze(client)
            assert last.prompts >= len(acknowledged)
            told = {version.name: version.prompts for version in await versions(client)}
        assert read_all(settings.state_dir) == told


def read_all(state_dir: Path) -> dict[str, int]:
    """Lines of every version on the disk, each whole."""
    found = {}
    for file in (state_dir / "datasets").glob("*/[0-9]*/prompts.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        assert all(line["messages"] and line["answer"] for line in lines)
        found[f"datasets/{file.parent.parent.name}/versions/{file.parent.name}"] = len(lines)
    return found
