"""A teacher in front of the real vLLM, whose engine dies. The contract before it is tests/contract/inference."""

import os
import signal
from pathlib import Path
from urllib.parse import urlsplit

from tests import tiny_checkpoints
from tests.serving import start_server, wait_for
from tests.vllm_server import needs_vllm, start_vllm

from seodang.api.inference.v1 import chat_pb2, generate_pb2, inference_pb2, model_pb2
from seodang.base.errors import Unavailable
from seodang.client import Client, complete
from seodang.rpc import from_fault

pytestmark = needs_vllm
MODEL = "models/tiny"


def generation(**fields: object) -> generate_pb2.GenerateRequest:
    endless = generate_pb2.Stopping(ignore_end_tokens=True)
    return generate_pb2.GenerateRequest(model=MODEL, prompt=chat_pb2.Prompt(text="서당"), stopping=endless, **fields)


def test_a_vllm_whose_engine_dies_is_missed_and_welcomed_back(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    tiny_checkpoints.build(folder, "qwen3", max_position_embeddings=4096, head_dim=32)
    settings = {"folder": folder, "model": MODEL}
    with (
        start_vllm(folder, tmp_path / "first") as vllm,
        start_server("teacher", tmp_path, engine_url=vllm.url, **settings) as serving,
        Client(serving.address) as client,
    ):
        stream = client.inference.Generate(generation(), timeout=120)
        assert next(stream).HasField("accepted")
        assert next(stream).HasField("delta")
        for pid in vllm.children():
            os.kill(pid, signal.SIGKILL)

        error = from_fault(list(stream)[-1].fault)
        assert isinstance(error, Unavailable)
        assert error.reason == "RANKS_LOST"
        wait_for(lambda: not serving.is_ready(), "the teacher to be not ready")
        model = client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model
        assert model.state == model_pb2.MODEL_STATE_RECOVERING

        wait_for(lambda: vllm.process.poll() is not None, "what is left of vLLM to end")
        with start_vllm(folder, tmp_path / "second", port=urlsplit(vllm.url).port or 0):
            wait_for(serving.is_ready, "the teacher to be ready again")
            assert complete(client, generation(max_new_tokens=3)).usage.completion_tokens == 3
