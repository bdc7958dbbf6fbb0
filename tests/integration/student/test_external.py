"""A student that an external server computes, beside one of our engine: neither's trouble is the other's."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.scripted.vllm import ScriptedVllm
from tests.serving import Serving, start_server, wait_for

from seodang.api.inference.v1 import chat_pb2, generate_pb2, inference_pb2, model_pb2
from seodang.api.serving.v1 import placement_pb2
from seodang.base.errors import Unavailable
from seodang.client import Client, complete

OURS, THEIRS = "models/llama", "models/qwen3"


@pytest.fixture(scope="module")
def scripted() -> ScriptedVllm:
    return ScriptedVllm()


@pytest.fixture(scope="module")
def students(checkpoints: Path, scripted: ScriptedVllm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """Started while the external server is away."""
    folder = tmp_path_factory.mktemp("students")
    engines = json.dumps({THEIRS: {"url": scripted.url}})
    with start_server(
        "student", folder, model_roots=checkpoints, state_dir=folder / "state", cache_bytes=2**21, engines=engines
    ) as serving:
        yield serving


@pytest.fixture
def client(students: Serving) -> Iterator[Client]:
    with Client(students.address) as client:
        yield client


def state(client: Client, name: str) -> model_pb2.ModelState.ValueType:
    return client.inference.GetModel(inference_pb2.GetModelRequest(name=name)).model.state


def tokens(client: Client, name: str) -> int:
    prompt = chat_pb2.Prompt(token_ids=chat_pb2.TokenIds(ids=[5, 6, 7]))
    request = generate_pb2.GenerateRequest(model=name, prompt=prompt, max_new_tokens=3)
    return int(complete(client, request).usage.completion_tokens)


def test_it_comes_with_its_server_and_goes_with_it_alone(
    students: Serving, client: Client, scripted: ScriptedVllm
) -> None:
    assert state(client, THEIRS) == model_pb2.MODEL_STATE_ON_DEMAND
    with pytest.raises(Unavailable, match="does not answer"):
        tokens(client, THEIRS)
    with scripted.up():
        assert tokens(client, THEIRS) == 3
        assert state(client, THEIRS) == model_pb2.MODEL_STATE_READY
    wait_for(lambda: state(client, THEIRS) == model_pb2.MODEL_STATE_RECOVERING, "the student to be away")
    with pytest.raises(Unavailable, match="does not answer"):
        tokens(client, THEIRS)
    assert state(client, OURS) == model_pb2.MODEL_STATE_READY
    assert tokens(client, OURS) == 3
    assert students.is_ready()
    with scripted.up():
        wait_for(lambda: state(client, THEIRS) == model_pb2.MODEL_STATE_READY, "the student to be back")
        assert tokens(client, THEIRS) == 3


def test_a_lost_rank_does_not_wait_for_a_server_that_is_away(
    students: Serving, client: Client, scripted: ScriptedVllm
) -> None:
    with scripted.up():
        assert tokens(client, THEIRS) == 3
    os.kill(students.rank_pids()[0], signal.SIGKILL)
    wait_for(lambda: not students.is_ready(), "the server to be not ready")
    wait_for(students.is_ready, "the server to be ready again")
    assert tokens(client, OURS) == 3
    with scripted.up():
        assert tokens(client, THEIRS) == 3


def test_it_takes_no_memory_here(client: Client, scripted: ScriptedVllm) -> None:
    with scripted.up():
        assert tokens(client, THEIRS) == 3
        listed = client.placement.ListResidentModels(placement_pb2.ListResidentModelsRequest()).models
    memory = {each.model.name: each.memory_bytes for each in listed}
    assert memory[THEIRS] == 0 < memory[OURS]
