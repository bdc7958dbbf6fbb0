"""What a server says of its models, and what else it hands out of them."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tests.contract.inference.asking import MODEL

from seodang.api.inference.v1 import inference_pb2, model_pb2
from seodang.client import Client
from seodang.inference import to_array


@pytest.mark.own_engine
def test_a_model_is_described_by_its_own_files(client: Client) -> None:
    model = client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model
    assert (model.name, model.architecture, model.dtype) == (MODEL, "AXK1ForCausalLM", "float32")
    assert (model.vocabulary_size, model.context_tokens) == (320, 4096)
    assert model.state == model_pb2.MODEL_STATE_READY
    layout = model.layout
    assert (layout.tensor_parallel, layout.expert_parallel, layout.pipeline_parallel) == (1, 1, 1)
    assert set(model.capabilities) == {
        model_pb2.CAPABILITY_GENERATE,
        model_pb2.CAPABILITY_SCORE,
        model_pb2.CAPABILITY_EMBED,
        model_pb2.CAPABILITY_CHAT,
        model_pb2.CAPABILITY_CONSTRAINT,
        model_pb2.CAPABILITY_HIDDEN_STATES,
    }
    assert len(model.weights_sha256) == len(model.tokenizer_sha256) == 64


@pytest.mark.own_engine
def test_a_token_visits_two_of_eight_experts(client: Client) -> None:
    model = client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model
    expert = 3 * 32 * 64
    layers = 2
    assert model.total_parameters - model.active_parameters == layers * 6 * expert


@pytest.mark.own_engine
def test_the_cache_is_the_latent_one(client: Client) -> None:
    model = client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model
    assert model.cache_bytes_per_token == 3 * (32 + 8) * 4
    assert 0 <= model.cache_utilisation <= 1


def test_models_are_listed_page_by_page(client: Client) -> None:
    names: list[str] = []
    token = ""
    while True:
        request = inference_pb2.ListModelsRequest(page_size=1, page_token=token)
        page = client.inference.ListModels(request)
        assert len(page.models) == 1
        names.append(page.models[0].name)
        token = page.next_page_token
        if not token:
            break
    everything = client.inference.ListModels(inference_pb2.ListModelsRequest())
    assert names == [model.name for model in everything.models] == sorted(names)
    assert MODEL in names


@pytest.mark.own_engine
@pytest.mark.parametrize("pooling", [inference_pb2.EmbedRequest.POOLING_MEAN, inference_pb2.EmbedRequest.POOLING_LAST])
def test_texts_become_vectors(client: Client, pooling: inference_pb2.EmbedRequest.Pooling.ValueType) -> None:
    def embed(*texts: str, normalize: bool = True) -> np.ndarray:
        request = inference_pb2.EmbedRequest(model=MODEL, texts=texts, pooling=pooling, normalize=normalize)
        answer = client.inference.Embed(request)
        assert answer.usage.prompt_tokens >= len(texts)
        return to_array(answer.embeddings)

    together = embed("서당 훈장님", "students listen")
    assert together.shape == (2, 64)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(embed("students listen")[0], together[1], atol=1e-5)
    assert np.linalg.norm(embed("students listen", normalize=False)) != pytest.approx(1, abs=1e-2)


def test_the_tokenizer_is_handed_out_file_by_file(client: Client, checkpoints: Path) -> None:
    parts = list(client.inference.GetTokenizer(inference_pb2.GetTokenizerRequest(model=MODEL)))
    files: dict[str, bytes] = {}
    for part in parts:
        assert part.offset == len(files.get(part.path, b""))
        files[part.path] = files.get(part.path, b"") + part.data
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= files.keys()
    for name, content in files.items():
        assert content == (checkpoints / "tiny" / name).read_bytes()
        digests = {part.file_sha256 for part in parts if part.path == name}
        assert digests == {hashlib.sha256(content).hexdigest()}
    model = client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model
    assert {part.tokenizer_sha256 for part in parts} == {model.tokenizer_sha256}
