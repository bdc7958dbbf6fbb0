"""What is different before an external server, and that nothing of it is silent."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.contract.inference.asking import MODEL, ask, generate, long_generation, score
from tests.serving import Serving, wait_for
from tests.vllm_server import VllmProcess, needs_vllm

from seodang.api.inference.v1 import generate_pb2, inference_pb2, model_pb2, score_pb2
from seodang.base.errors import Unsupported
from seodang.client import Client

PROMPT = [5, 100, 42, 7, 200, 311]
NATS = 0.02
"""vLLM's kernels on a CPU round otherwise than transformers."""


pytestmark = needs_vllm


@pytest.fixture
def server(external: Serving) -> Serving:
    return external


def test_it_describes_what_it_can_know(client: Client) -> None:
    model = client.inference.GetModel(inference_pb2.GetModelRequest(name=MODEL)).model
    assert (model.state, model.vocabulary_size, model.context_tokens) == (model_pb2.MODEL_STATE_READY, 320, 4096)
    assert set(model.capabilities) == {
        model_pb2.CAPABILITY_GENERATE,
        model_pb2.CAPABILITY_CHAT,
        model_pb2.CAPABILITY_CONSTRAINT,
    }
    assert len(model.tokenizer_sha256) == 64
    assert (model.weights_sha256, model.dtype, model.total_parameters, model.HasField("layout")) == ("", "", 0, False)


WEIGHTS_WANTED: dict[str, Callable[[Client], Any]] = {
    "Score": lambda client: list(client.inference.Score(score(PROMPT))),
    "GetOutputHead": lambda client: list(
        client.inference.GetOutputHead(score_pb2.GetOutputHeadRequest(model=MODEL))
    ),
    "Embed": lambda client: client.inference.Embed(inference_pb2.EmbedRequest(model=MODEL, texts=["a"])),
}  # fmt: skip


@pytest.mark.parametrize(("method", "call"), WEIGHTS_WANTED.items(), ids=WEIGHTS_WANTED.keys())
def test_what_takes_the_weights_is_refused_with_what_to_do(
    client: Client, method: str, call: Callable[[Client], Any]
) -> None:
    with pytest.raises(Unsupported, match="our own engine") as caught:
        call(client)
    assert caught.value.message.startswith(method)


Sampling = generate_pb2.Sampling
OTHERWISE_THERE = {
    "hot": (Sampling(temperature=2.5), "sampling.temperature"),
    "cold": (Sampling(temperature=0.005), "sampling.temperature"),
    "min_p after top_p": (Sampling(temperature=1, min_p=0.1, top_p=0.9), "sampling.min_p"),
    "a bias after a repetition penalty": (
        Sampling(temperature=0, repetition_penalty=1.2, logit_bias={5: 1}), "sampling.logit_bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("sampling", "field"), OTHERWISE_THERE.values(), ids=OTHERWISE_THERE.keys())
def test_what_vllm_would_draw_otherwise_is_refused(client: Client, sampling: generate_pb2.Sampling, field: str) -> None:
    with pytest.raises(Unsupported) as caught:
        ask(client, generate(greedy=False, sampling=sampling))
    assert caught.value.metadata == {"field": field}


def test_greedy_tokens_and_their_log_probabilities_are_the_checkpoint_s(client: Client, vllm: VllmProcess) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    tokens = ask(client, generate(PROMPT, new=12, top_logprobs=8)).tokens
    model = AutoModelForCausalLM.from_pretrained(vllm.folder, dtype=torch.float32).eval()
    ids = torch.tensor([[*PROMPT, *(token.id for token in tokens)]])
    with torch.inference_mode():
        logprobs = model(ids).logits[0, len(PROMPT) - 1 : -1].log_softmax(-1)
    for token, expected in zip(tokens, logprobs, strict=True):
        assert token.logprob == pytest.approx(float(expected.max()), abs=NATS)
        assert token.logprob == pytest.approx(float(expected[token.id]), abs=NATS)
        for other in token.alternatives:
            assert other.logprob == pytest.approx(float(expected[other.id]), abs=NATS)


def test_log_probabilities_are_those_before_biases_and_penalties(client: Client) -> None:
    plain = ask(client, generate(PROMPT, new=1, top_logprobs=64)).tokens[0]
    unlikely = plain.alternatives[-1]
    biased = ask(client, generate(PROMPT, new=1, logprobs=True, sampling=Sampling(logit_bias={unlikely.id: 100.0})))
    assert biased.tokens[0].id == unlikely.id
    assert biased.tokens[0].logprob == pytest.approx(unlikely.logprob, abs=NATS)


@pytest.mark.parametrize("sampling", [Sampling(top_p=1e-6), Sampling(min_p=1.0), Sampling(top_k=1)], ids=str)
def test_a_filter_that_leaves_one_token_is_greedy(client: Client, sampling: generate_pb2.Sampling) -> None:
    sampling.temperature = 1.5
    assert ask(client, generate(PROMPT, greedy=False, sampling=sampling)).ids == ask(client, generate(PROMPT)).ids


def test_a_negative_seed_is_a_seed(client: Client) -> None:
    def draw(seed: int) -> list[int]:
        return ask(client, generate(PROMPT, greedy=False, sampling=Sampling(seed=seed, temperature=2.0))).ids

    assert draw(-1) == draw(-1) != draw(-2)


def test_a_reader_who_leaves_frees_the_place_at_the_server_too(client: Client, vllm: VllmProcess) -> None:
    stream = client.inference.Generate(long_generation(), timeout=60)
    assert next(stream).HasField("accepted")
    assert next(stream).HasField("delta")
    wait_for(lambda: vllm.running() == 1, "vLLM to work")
    stream.cancel()
    wait_for(lambda: vllm.running() == 0, "vLLM to rest")


def test_a_stop_string_ends_the_request_at_the_server_too(client: Client, vllm: VllmProcess) -> None:
    text = ask(client, generate(PROMPT, new=12)).text
    stopping = generate_pb2.Stopping(strings=[text[3:5]], ignore_end_tokens=True)
    answer = ask(client, generate(PROMPT, new=None, stopping=stopping))
    assert answer.finished.reason == generate_pb2.FINISH_REASON_STOP_STRING
    wait_for(lambda: vllm.running() == 0, "vLLM to rest")


def test_a_schema_holds_though_the_model_knows_nothing(client: Client) -> None:
    schema = '{"type": "array", "items": {"type": "integer", "minimum": 3, "maximum": 7}, "minItems": 2, "maxItems": 2}'
    request = generate(new=60, constraint=generate_pb2.Constraint(json_schema=schema))
    assert ask(client, request).finished.reason == generate_pb2.FINISH_REASON_CONSTRAINT


def test_nothing_was_lost_on_the_way(external: Serving) -> None:
    """By now it has served all that is above, and no line of its log says that it went away."""
    assert "not ready" not in external.log()
    assert "Traceback" not in external.log()
