"""A completion as the body of vLLM's ``/v1/completions``, refusing what vLLM would do otherwise than our engine."""

from typing import Any, Final

from seodang.base.errors import Unsupported
from seodang.runtime.completion import Completion
from seodang.runtime.grammar import to_lark
from seodang.worker.messages import SamplingParams

# vLLM refuses what is hotter, and takes what is colder for 0.01.
HOTTEST: Final = 2.0
COLDEST: Final = 0.01
_NO_SEED: Final = -1
"""vLLM takes it for none."""


def to_body(completion: Completion, model: str) -> dict[str, Any]:
    """Token ids in, token ids out; text, stop strings and end tokens stay ours.

    Raises:
        Unsupported: vLLM would draw from another distribution than the contract promises; names the field.
    """
    command = completion.command
    body = {
        "model": model,
        "prompt": list(completion.tokens),
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": completion.limit,
        # Ours, those of the checkpoint included: vLLM may know others.
        "stop_token_ids": sorted(completion.stop_ids),
        "ignore_eos": True,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "skip_special_tokens": False,
        "request_id": command.request_id,
        **_sampling(command.sampling),
    }
    if command.top_logprobs is not None:
        body["logprobs"] = command.top_logprobs
    if command.constraint is not None:
        body["structured_outputs"] = {"grammar": to_lark(command.constraint)}
    return body


def _sampling(params: SamplingParams) -> dict[str, Any]:
    """Every field is set: what is left out would be taken from the defaults of vLLM's own model folder."""
    greedy = params.temperature == 0.0 or params.top_k == 1
    _check(params, greedy=greedy)
    body = {
        "temperature": 0.0 if greedy else params.temperature,
        "top_k": params.top_k or 0,
        "top_p": 1.0 if params.top_p is None else params.top_p,
        "min_p": params.min_p or 0.0,
        "repetition_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "logit_bias": {str(token): bias for token, bias in params.logit_bias.items()},
    }
    if params.seed is not None:
        body["seed"] = 2**63 - 1 if params.seed == _NO_SEED else params.seed
    return body


def _check(params: SamplingParams, *, greedy: bool) -> None:
    if params.repetition_penalty != 1.0 and params.logit_bias:
        raise _refused("logit_bias", "it adds biases before the repetition penalty, not after; send one of the two")
    if greedy:
        return
    if not COLDEST <= params.temperature <= HOTTEST:
        raise _refused(
            "temperature",
            f"{params.temperature:g} lies outside its {COLDEST:g} to {HOTTEST:g}; send one within, or 0 for greedy",
        )
    if params.min_p and params.top_p is not None and params.top_p < 1.0:
        raise _refused("min_p", "it applies min_p before top_p, not after; send one of the two")


def _refused(name: str, why: str) -> Unsupported:
    return Unsupported(
        f"sampling.{name}: an external vLLM server computes this model, and {why}",
        metadata={"field": f"sampling.{name}"},
    )
