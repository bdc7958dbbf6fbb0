"""`seodang prompts` against the real service."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.integration.distill.exchanges import append, exchange
from tests.shell import seodang

from seodang.client import AsyncClient
from seodang.distill.server import running_server
from seodang.distill.settings import DistillSettings


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    settings = DistillSettings(port=0, grace_s=1, state_dir=tmp_path / "state")
    async with running_server(settings) as server, AsyncClient(server.address) as client:
        yield client


async def test_traffic_is_allowed_frozen_listed_and_forgotten(client: AsyncClient) -> None:
    prompts = partial(seodang, client, "prompts")
    status, said = await prompts("freeze", "chat")
    assert (status, said.partition(":")[0]) == (2, "nothing is kept of datasets/chat")
    status, said = await prompts("allow", "shop", "--consent", "terms of 2026", "--share", "2")
    assert (status, "policy.sample_rate=2" in said) == (2, True)
    status, said = await prompts("allow", "shop", "--consent", "terms of 2026", "--days", "30")
    assert said == "100% of what people of shop agree to share is kept for 30 days."
    await append(client, exchange("1", "010-1234-5678"), exchange("2", "안녕", subject="user-2"))
    status, said = await prompts("freeze", "chat")
    assert status == 0
    assert "datasets/chat/versions/1 2 2 " in said
    assert " 1 PHONE " in said
    assert said.endswith('"data": {"dataset_version": "datasets/chat/versions/1"}')
    status, said = await prompts("forget", "shop", "--subject", "user-2", "--refuse")
    assert said == (
        "1 exchanges were forgotten. datasets/chat/versions/1 held some of them and is withdrawn: freeze the dataset "
        "anew. From now on nothing of them is kept."
    )
    assert (await append(client, exchange("3", subject="user-2"))).dropped_by_policy == 1
    status, said = await prompts("list")
    assert (status, said.endswith("withdrawn")) == (0, True)
    status, said = await prompts("policies")
    assert said.endswith("shop 100% for 30 days terms of 2026")
    status, said = await prompts("stop", "shop")
    assert said == "Nothing more is kept of shop; what is there stays for 30 days."
    assert (await append(client, exchange("4"))).dropped_by_policy == 1
    status, said = await prompts("stop", "shop", "--days", "7")
    assert said == "Nothing more is kept of shop; what is there stays for 7 days."
    status, said = await prompts("policies")
    assert said.endswith("shop nothing more for 7 days terms of 2026")
    status, said = await prompts("stop", "nobody")
    assert (status, said.partition(",")[0]) == (2, "tenant 'nobody' has no policy")
