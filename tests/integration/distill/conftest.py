import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.integration.distill.postgres import Postgres, running_postgres
from tests.integration.distill.teacher import running_teacher
from tests.scripted.kubernetes import ScriptedCluster

from seodang.client import AsyncClient
from seodang.distill.database.unit_of_work import Database, open_database
from seodang.distill.server import running_server
from seodang.distill.settings import DistillSettings

WORKER = Path(__file__).parent / "worker.py"
Start = Callable[..., Awaitable[AsyncClient]]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'distill.db'}"
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_schema()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_url) as opened:
        yield opened


@pytest.fixture
async def settings(tmp_path: Path) -> AsyncIterator[DistillSettings]:
    """A server of its own with a teacher to ask, a folder of data, and workers that are quick to try again."""
    data = tmp_path / "data"
    data.mkdir()
    lines = [{"messages": [{"role": "user", "content": f"{n} 더하기 1"}], "answer": f"{n + 1}"} for n in range(20)]
    (data / "good.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    (data / "bad.jsonl").write_text("hello\n")
    async with running_teacher() as teacher:
        yield DistillSettings(
            port=0, grace_s=2, state_dir=tmp_path / "state", teacher_address=teacher.address, data_roots=(data,),
            worker_command=(sys.executable, str(WORKER)), retry_backoff_s=0.05, retry_backoff_max_s=0.2,
            attempts_in_a_row=3, poll_interval_s=0.05,
        )  # fmt: skip


@pytest.fixture
async def start(settings: DistillSettings) -> AsyncIterator[Start]:
    """Starts a server with some settings changed and gives a client of it; both end with the test."""
    async with AsyncExitStack() as stack:

        async def begin(**changes: Any) -> AsyncClient:
            changed = settings.model_copy(update=changes)
            server = await stack.enter_async_context(running_server(changed))
            return await stack.enter_async_context(AsyncClient(server.address))

        yield begin


def tiny_worker(manifest: dict[str, Any]) -> list[str]:
    """The worker of these tests, on the folder that a TrainJob names."""
    return [sys.executable, str(WORKER), manifest["spec"]["trainer"]["args"][-1]]


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedCluster]:
    """One whose nodes run the tests' worker; it answers while it is ``up``."""
    scripted = ScriptedCluster(tmp_path)
    scripted.node = tiny_worker
    config = tmp_path / "kubeconfig.yaml"
    config.write_text(scripted.kubeconfig)
    for name, value in {
        "CONFIG": config, "IMAGE": "registry.example/seodang:1", "CLAIM": "state-distill-0", "WATCH_S": 1,
        "REQUEST_TIMEOUT_S": 2, "RETRY_BACKOFF_MAX_S": 1, "VISIBLE_S": 1, "START_PATIENCE_S": 60,
    }.items():  # fmt: skip
        monkeypatch.setenv(f"SEODANG_KUBERNETES_{name}", str(value))
    yield scripted
    scripted.end()
