"""Exchanges that people agree to share, through the unmodified OpenAI client and the real capture service."""

import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from tests.scripted.inference import Script

from seodang.api.capture.v1 import capture_pb2
from seodang.base.errors import Unavailable
from seodang.capture import Outcome, Recorder, recording
from seodang.client import AsyncClient
from seodang.distill.server import running_server
from seodang.distill.settings import DistillSettings
from seodang.gateway import GatewaySettings, Upstreams, create_app
from seodang.gateway.server import http_server

MODEL = "assistant"
PRIVATE: list[Any] = [{"role": "user", "content": "010-1234-5678로 전화해 줘"}]


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    """The distillation server, which keeps what the tenant ``team-a`` agrees to."""
    settings = DistillSettings(port=0, grace_s=1, state_dir=tmp_path / "state")
    async with running_server(settings) as server, AsyncClient(server.address) as client:
        policy = capture_pb2.Policy(tenant="team-a", enabled=True, sample_rate=1, consent="terms of 2026")
        await client.capture.SetPolicy(capture_pb2.SetPolicyRequest(policy=policy))
        yield client


class Gateway:
    """A gateway with keys for two tenants, and its recorder."""

    def __init__(self, mesh: Any, recorder: Recorder | None, url: str) -> None:
        self._mesh, self.recorder, self.url = mesh, recorder, url

    def client(self, key: str = "key-a") -> AsyncOpenAI:
        return self._mesh.openai(self.url, api_key=key)


@pytest.fixture
async def gateway(mesh: Any, keeper: AsyncClient, tmp_path: Path) -> Gateway:
    keys = tmp_path / "keys.txt"
    names = {"key-a": "team-a", "key-b": "team-b"}
    keys.write_text("".join(f"{hashlib.sha256(key.encode()).hexdigest()} {name}\n" for key, name in names.items()))
    addresses = {f"{name}_address": server.address for name, server in mesh.servers.items()}
    settings = GatewaySettings(port=0, grace_s=1, api_keys_file=keys, capture_address=keeper.address, **addresses)
    upstreams = await mesh.stack.enter_async_context(Upstreams(settings))
    recorder = await mesh.stack.enter_async_context(recording(settings.capture_address))
    address = await mesh.stack.enter_async_context(http_server(create_app(settings, upstreams, recorder), settings))
    return Gateway(mesh, recorder, f"http://{address}")


async def frozen(keeper: AsyncClient) -> capture_pb2.DatasetVersion:
    request = capture_pb2.CreateDatasetVersionRequest(dataset=f"datasets/{MODEL}")
    return (await keeper.capture.CreateDatasetVersion(request)).version


async def test_what_a_person_agrees_to_share_becomes_a_prompt_without_personal_data(
    gateway: Gateway, keeper: AsyncClient, until: Any, tmp_path: Path
) -> None:
    ask = gateway.client().chat.completions.create
    whole = await ask(model=MODEL, messages=PRIVATE, store=True, safety_identifier="person-1")
    stream = await ask(model=MODEL, messages=[{"role": "user", "content": "안녕"}], store=True, stream=True, user="p-2")
    said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
    assert whole.choices[0].message.content == said == "안녕 from the mesh"
    assert gateway.recorder is not None
    outcomes = gateway.recorder.outcomes
    await until(lambda: outcomes[Outcome.STORED] == 2, "both are kept")
    version = await frozen(keeper)
    assert (version.prompts, dict(version.redactions), list(version.tenants)) == (2, {"PHONE": 1}, ["team-a"])
    lines = (tmp_path / "state" / "datasets" / MODEL / "1" / "prompts.jsonl").read_text().splitlines()
    contents = {json.loads(line)["messages"][0]["content"]: json.loads(line)["answer"] for line in lines}
    assert contents == {"[PHONE]로 전화해 줘": said, "안녕": said}
    erased = await keeper.capture.EraseSubject(capture_pb2.EraseSubjectRequest(tenant="team-a", subject="person-1"))
    assert (erased.erased, list(erased.withdrawn_versions)) == (1, [version.name])


@pytest.mark.parametrize("fields", [{}, {"store": False}, {"store": None}])
async def test_nothing_is_sent_without_consent(gateway: Gateway, fields: dict[str, Any]) -> None:
    await gateway.client().chat.completions.create(model=MODEL, messages=PRIVATE, **fields)
    assert gateway.recorder is not None
    assert not gateway.recorder.outcomes


async def test_a_tenant_without_a_policy_is_refused(gateway: Gateway, until: Any) -> None:
    await gateway.client("key-b").chat.completions.create(model=MODEL, messages=PRIVATE, store=True)
    assert gateway.recorder is not None
    outcomes = gateway.recorder.outcomes
    await until(lambda: outcomes[Outcome.REFUSED] == 1, "it is refused")
    async with httpx.AsyncClient(base_url=gateway.url) as http:
        page = (await http.get("/metrics")).text
    assert 'seodang_gateway_captured_exchanges_total{outcome="refused"} 1.0' in page


async def test_an_answer_that_broke_off_is_not_kept(gateway: Gateway, mesh: Any) -> None:
    mesh.student.answer = lambda request: Script([b"half", b" an"], fault_at=1, fault=Unavailable("a rank is lost"))
    with pytest.raises(Exception, match="a rank is lost"):
        await gateway.client().chat.completions.create(model=MODEL, messages=PRIVATE, store=True)
    assert gateway.recorder is not None
    assert not gateway.recorder.outcomes


async def test_storing_is_without_effect_where_nothing_is_kept(mesh: Any, openai: AsyncOpenAI) -> None:
    reply = await openai.chat.completions.create(model=MODEL, messages=PRIVATE, store=True, safety_identifier="p")
    assert reply.choices[0].message.content == "안녕 from the mesh"
    async with httpx.AsyncClient(base_url=mesh.url) as http:
        assert "captured" not in (await http.get("/metrics")).text
