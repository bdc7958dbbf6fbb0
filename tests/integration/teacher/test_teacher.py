"""The teacher's process: how it begins, what it does when a rank dies, and how it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from tests.serving import Serving, start_server, wait_for
from tests.snippets import run_snippet

from seodang.api.inference.v1 import chat_pb2, generate_pb2, inference_pb2, model_pb2
from seodang.base.errors import Unavailable
from seodang.client import Client, complete
from seodang.rpc import from_fault

MODEL = "models/tiny"
README = "services/seodang/teacher/README.md"


def generation(**fields: Any) -> generate_pb2.GenerateRequest:
    endless = generate_pb2.Stopping(ignore_end_tokens=True)
    return generate_pb2.GenerateRequest(model=MODEL, prompt=chat_pb2.Prompt(text="서당"), stopping=endless, **fields)


def state(client: Client) -> model_pb2.ModelState.ValueType:
    return client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model.state


@pytest.fixture
def own_teacher(checkpoints: Path, tmp_path: Path) -> Iterator[Serving]:
    """A teacher of two ranks that a test may break; it drafts for itself."""
    tiny = checkpoints / "tiny"
    settings = {"folder": tiny, "model": MODEL, "tp": 2, "ep": 2, "cache_bytes": 8 * 2**20, "threads": 1}
    with start_server("teacher", tmp_path, draft_folder=tiny, **settings) as serving:
        yield serving


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_rank_ends_its_streams_and_comes_back(own_teacher: Serving) -> None:
    with Client(own_teacher.address) as client:
        stream = client.inference.Generate(generation(), timeout=120)
        assert next(stream).HasField("accepted")
        assert next(stream).HasField("delta")
        os.kill(own_teacher.rank_pids()[-1], signal.SIGKILL)

        events = list(stream)
        error = from_fault(events[-1].fault)
        assert isinstance(error, Unavailable)
        assert error.reason == "RANKS_LOST"
        assert all(event.HasField("delta") for event in events[:-1])

        wait_for(lambda: state(client) == model_pb2.MODEL_STATE_RECOVERING, "the model to be recovering")
        wait_for(lambda: not own_teacher.is_ready(), "the teacher to be not ready")
        with pytest.raises(Unavailable) as caught:
            complete(client, generation(max_new_tokens=1))
        assert caught.value.retry_after_s > 0

        wait_for(own_teacher.is_ready, "the teacher to be ready again", timeout_s=180)
        assert state(client) == model_pb2.MODEL_STATE_READY
        usage = complete(client, generation(max_new_tokens=40)).usage
        assert usage.completion_tokens == 40
        assert 0 < usage.accepted_draft_tokens <= usage.drafted_tokens


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_life_from_the_open_port_to_the_last_stream(checkpoints: Path, tmp_path: Path) -> None:
    settings = {"folder": checkpoints / "tiny", "model": MODEL, "threads": 1, "grace_s": 100}
    with start_server("teacher", tmp_path, ready=False, **settings) as serving, Client(serving.address) as client:
        health = client.health.Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.NOT_SERVING
        wait_for(serving.is_ready, "the teacher to be ready", timeout_s=180)
        log = serving.log()
        assert log.index("serves on") < log.index("of weights on rank 0") < log.index("have completed a token")

        printed = run_snippet(README, {"127.0.0.1:7101": serving.address, "models/teacher-mini": MODEL})
        assert " tokens in " in printed

        ranks = serving.rank_pids()
        stream = client.inference.Generate(generation(max_new_tokens=800), timeout=120)
        assert next(stream).HasField("accepted")
        assert next(stream).HasField("delta")
        serving.process.send_signal(signal.SIGTERM)
        wait_for(lambda: "drains" in serving.log(), "the server to drain")
        with pytest.raises(Unavailable, match="draining"):
            complete(client, generation(max_new_tokens=1))
        assert list(stream)[-1].finished.usage.completion_tokens == 800
        assert serving.process.wait(timeout=60) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)


@pytest.mark.timeout(300)
def test_a_broken_checkpoint_ends_the_process_with_the_cause(checkpoints: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{}")
    env = os.environ | {"SEODANG_TEACHER_FOLDER": str(broken), "SEODANG_TEACHER_PORT": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "seodang.teacher"], env=env, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == 2
    assert "model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_setting_ends_the_process_with_the_known_ones() -> None:
    env = os.environ | {"SEODANG_TEACHER_FODLER": "x"}
    done = subprocess.run(
        [sys.executable, "-m", "seodang.teacher"], env=env, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 2
    assert "SEODANG_TEACHER_FODLER" in done.stderr
    assert "SEODANG_TEACHER_FOLDER" in done.stderr
