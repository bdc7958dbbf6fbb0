"""Every refusal names field, value and what would do."""

import numpy as np
import pytest

from seodang.base.errors import InvalidInput
from seodang.runtime.admission import check_embed, check_generate, check_score
from seodang.worker.messages import Embed, Generate, SamplingParams, Score, TextPrompt
from seodang.worker.tensor import Tensor

VOCABULARY, CONTEXT = 100, 50


def generate(**fields: object) -> Generate:
    return Generate(request_id="r", model_id="m", prompt=TextPrompt(text="x"), **fields)  # type: ignore[arg-type]


def score(**fields: object) -> Score:
    return Score(request_id="r", model_id="m", prompt=TextPrompt(text="x"), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "params"),
    [
        ("sampling.temperature", {"temperature": -0.1}),
        ("sampling.temperature", {"temperature": float("nan")}),
        ("sampling.temperature", {"temperature": float("inf")}),
        ("sampling.top_k", {"top_k": 0}),
        ("sampling.top_p", {"top_p": 0.0}),
        ("sampling.top_p", {"top_p": 1.5}),
        ("sampling.min_p", {"min_p": -0.5}),
        ("sampling.repetition_penalty", {"repetition_penalty": 0.0}),
        ("sampling.presence_penalty", {"presence_penalty": float("inf")}),
        ("sampling.logit_bias", {"logit_bias": {VOCABULARY: 1.0}}),
        ("sampling.logit_bias", {"logit_bias": {3: float("nan")}}),
        ("sampling.logit_bias", {"logit_bias": dict.fromkeys(range(2000), 0.0)}),
    ],
)
def test_sampling_parameters_out_of_range_are_refused(field: str, params: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_generate(generate(sampling=SamplingParams(**params)), 5, VOCABULARY, CONTEXT)  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("max_new_tokens", {"max_new_tokens": 0}),
        ("stop", {"stop": ("x",) * 17}),
        ("stop", {"stop": ("",)}),
        ("stop", {"stop": ("y" * 300,)}),
        ("stop_token_ids", {"stop_token_ids": (-1,)}),
        ("top_logprobs", {"top_logprobs": 101}),
        ("top_logprobs", {"top_logprobs": -1}),
    ],
)
def test_other_fields_out_of_range_are_refused(field: str, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_generate(generate(**fields), 5, VOCABULARY, CONTEXT)
    assert caught.value.field == field


def test_a_prompt_that_fills_the_context_is_refused_with_both_numbers() -> None:
    check_generate(generate(), CONTEXT - 1, VOCABULARY, CONTEXT)
    with pytest.raises(InvalidInput, match="50 tokens, but the context holds 49") as caught:
        check_generate(generate(), CONTEXT, VOCABULARY, CONTEXT)
    assert caught.value.reason == "PROMPT_TOO_LONG"
    assert caught.value.metadata == {"prompt_tokens": "50", "context_tokens": "50"}


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("start", {"start": 10}),
        ("start", {"start": -1}),
        ("start", {"stop": 11}),
        ("temperature", {"temperature": 0.0}),
        ("chunk_positions", {"chunk_positions": 0}),
        ("top_k", {"top_k": 101}),
        ("tail_samples", {"tail_samples": -1}),
        ("named_ids", {"named_ids": Tensor.from_numpy(np.array([100], np.int32))}),
        ("named_ids", {"named_ids": Tensor.from_numpy(np.array([-1], np.int32))}),
        ("named_ids", {"named_ids": Tensor.from_numpy(np.zeros((9, 2), np.int32))}),
        ("named_ids", {"named_ids": Tensor.from_numpy(np.zeros((10, 0), np.int32))}),
        ("named_ids", {"named_ids": Tensor.from_numpy(np.zeros(4, np.float32))}),
    ],
)
def test_scorings_that_can_never_run_are_refused(field: str, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_score(score(**fields), 10, VOCABULARY, CONTEXT)
    assert caught.value.field == field


def test_embeddings_need_a_prompt_that_fits() -> None:
    command = Embed(request_id="r", model_id="m", prompts=())
    with pytest.raises(InvalidInput, match="0 prompts"):
        check_embed(command, [], CONTEXT)
    with pytest.raises(InvalidInput, match="51 tokens"):
        check_embed(command, [51], CONTEXT)
