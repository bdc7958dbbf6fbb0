from pathlib import Path
from typing import Any

import llguidance
import pytest
from tests.tiny_checkpoints import EOS, config_of

from seodang.base.errors import Unsupported
from seodang.runtime.completion import Completion
from seodang.runtime.external.body import to_body
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import Generate, JsonSchema, Lark, Regex, SamplingParams, TokenPrompt


@pytest.fixture(scope="module")
def tokenizer(llama_folder: Path) -> Tokenizer:
    return Tokenizer(llama_folder, config_of("llama"))


def body_of(tokenizer: Tokenizer, **fields: Any) -> dict[str, Any]:
    command = Generate(request_id="r", model_id="m", prompt=TokenPrompt(token_ids=(5, 6)), **fields)
    return to_body(Completion(command, [5, 6], tokenizer, 16), "tiny")


def sampled(tokenizer: Tokenizer, **params: Any) -> dict[str, Any]:
    return body_of(tokenizer, sampling=SamplingParams(**params))


def test_nothing_is_left_to_the_defaults_of_the_server(tokenizer: Tokenizer) -> None:
    body = body_of(tokenizer)
    assert body["prompt"] == [5, 6]
    assert body["max_tokens"] == 14
    assert (body["temperature"], body["top_k"], body["top_p"], body["min_p"]) == (1.0, 0, 1.0, 0.0)
    assert (body["repetition_penalty"], body["presence_penalty"], body["frequency_penalty"]) == (1.0, 0.0, 0.0)
    assert body["logit_bias"] == {}
    assert not body.keys() & {"seed", "stop", "logprobs", "structured_outputs"}


def test_the_end_tokens_are_ours(tokenizer: Tokenizer) -> None:
    assert body_of(tokenizer, stop_token_ids=(9,))["stop_token_ids"] == [EOS, 9]
    assert body_of(tokenizer, ignore_eos=True)["stop_token_ids"] == []
    assert body_of(tokenizer)["ignore_eos"] is True


def test_a_stop_string_is_not_the_server_s_to_find(tokenizer: Tokenizer) -> None:
    assert "stop" not in body_of(tokenizer, stop=("x",))


def test_top_k_of_one_is_greedy_at_any_temperature(tokenizer: Tokenizer) -> None:
    assert sampled(tokenizer, temperature=10.0, top_k=1)["temperature"] == 0.0


def test_the_seed_that_vllm_takes_for_none_is_another_one(tokenizer: Tokenizer) -> None:
    assert sampled(tokenizer, seed=-1)["seed"] not in (-1, None)
    assert sampled(tokenizer, seed=-2)["seed"] == -2


@pytest.mark.parametrize("temperature", [0.001, 2.01, 10.0])
def test_a_temperature_that_vllm_would_change_is_refused(tokenizer: Tokenizer, temperature: float) -> None:
    with pytest.raises(Unsupported) as caught:
        sampled(tokenizer, temperature=temperature)
    assert caught.value.metadata == {"field": "sampling.temperature"}


def test_filters_that_vllm_applies_in_another_order_are_refused_together(tokenizer: Tokenizer) -> None:
    with pytest.raises(Unsupported) as caught:
        sampled(tokenizer, min_p=0.1, top_p=0.9)
    assert caught.value.metadata == {"field": "sampling.min_p"}
    sampled(tokenizer, min_p=0.1, top_p=1.0)
    sampled(tokenizer, min_p=0.1, top_p=0.9, temperature=0.0)
    with pytest.raises(Unsupported) as caught:
        sampled(tokenizer, temperature=0.0, repetition_penalty=1.1, logit_bias={5: 1.0})
    assert caught.value.metadata == {"field": "sampling.logit_bias"}


CONSTRAINTS = [
    JsonSchema(schema='{"type": "object", "properties": {"방": {"type": "string"}}}'),
    Regex(pattern="a/b|[가-힣]+\n\"'"),
    Lark(grammar='start: "go " ("left" | "right")'),
    Lark(grammar='%llguidance {"no_forcing": true}\nstart: "a"'),
]


@pytest.mark.parametrize("constraint", CONSTRAINTS, ids=["schema", "regex", "grammar", "grammar with options"])
def test_a_constraint_is_a_grammar_that_names_its_dialect(tokenizer: Tokenizer, constraint: Any) -> None:
    grammar = body_of(tokenizer, constraint=constraint)["structured_outputs"]["grammar"]
    assert grammar.startswith("%llguidance ")
    assert grammar.count("%llguidance") == 1
    assert not llguidance.LLMatcher.validate_grammar(llguidance.LLMatcher.grammar_from_lark(grammar), None)
