"""What a request must satisfy before it may wait: every refusal says which field, which value, and what would do."""

import math
from collections.abc import Iterable

from seodang.base.errors import InvalidInput
from seodang.worker.messages import Embed, Generate, SamplingParams, Score

MAX_STOPS = 16
MAX_STOP_CHARACTERS = 256
MAX_BIASES = 1024
MAX_TOP_LOGPROBS = 256
MAX_CHUNK_POSITIONS = 4096
MAX_TAIL_SAMPLES = 4096
MAX_NAMED_IDS = 4096
MAX_EMBED_PROMPTS = 256


def check_generate(command: Generate, prompt_tokens: int, vocabulary: int, context: int) -> None:
    """Refuse a generation that can never run."""
    _check_length(prompt_tokens, context, room_for=1)
    check_sampling(command.sampling, vocabulary)
    if command.max_new_tokens is not None and command.max_new_tokens < 1:
        raise InvalidInput(f"max_new_tokens={command.max_new_tokens}: must be at least 1", field="max_new_tokens")
    if len(command.stop) > MAX_STOPS:
        raise InvalidInput(f"{len(command.stop)} stop strings: at most {MAX_STOPS}", field="stop")
    for stop in command.stop:
        if not 0 < len(stop) <= MAX_STOP_CHARACTERS:
            raise InvalidInput(
                f"stop string of {len(stop)} characters: must have 1 to {MAX_STOP_CHARACTERS}", field="stop"
            )
    _check_ids(command.stop_token_ids, vocabulary, "stop_token_ids")
    top = command.top_logprobs
    if top is not None and not 0 <= top <= min(MAX_TOP_LOGPROBS, vocabulary):
        raise InvalidInput(
            f"top_logprobs={top}: must be 0 to {min(MAX_TOP_LOGPROBS, vocabulary)}; use Score for more",
            field="top_logprobs",
        )


def check_sampling(params: SamplingParams, vocabulary: int) -> None:
    """Refuse parameters out of range."""
    _check_range("temperature", params.temperature, 0.0, 100.0)
    if params.top_k is not None and params.top_k < 1:
        raise InvalidInput(
            f"top_k={params.top_k}: must be at least 1; leave it out to keep all", field="sampling.top_k"
        )
    if params.top_p is not None:
        _check_range("top_p", params.top_p, 0.0, 1.0)
        if params.top_p == 0.0:
            raise InvalidInput("top_p=0: must be above 0; for greedy use temperature 0", field="sampling.top_p")
    if params.min_p is not None:
        _check_range("min_p", params.min_p, 0.0, 1.0)
    _check_range("repetition_penalty", params.repetition_penalty, 0.01, 100.0)
    _check_range("presence_penalty", params.presence_penalty, -100.0, 100.0)
    _check_range("frequency_penalty", params.frequency_penalty, -100.0, 100.0)
    if len(params.logit_bias) > MAX_BIASES:
        raise InvalidInput(f"{len(params.logit_bias)} biases: at most {MAX_BIASES}", field="sampling.logit_bias")
    _check_ids(params.logit_bias, vocabulary, "sampling.logit_bias")
    for bias in params.logit_bias.values():
        _check_range("logit_bias", bias, -1000.0, 1000.0)


def check_score(command: Score, tokens: int, vocabulary: int, context: int) -> None:
    """Refuse a scoring that can never run."""
    _check_length(tokens, context, room_for=0)
    stop = tokens if command.stop is None else command.stop
    if not 0 <= command.start < stop <= tokens:
        raise InvalidInput(
            f"positions {command.start}..{stop} of {tokens} tokens: need 0 <= start < stop <= {tokens}", field="start"
        )
    if not math.isfinite(command.temperature) or not 1e-3 <= command.temperature <= 1e3:
        raise InvalidInput(f"temperature={command.temperature}: must be 0.001 to 1000", field="temperature")
    limits = (
        ("chunk_positions", command.chunk_positions, 1, MAX_CHUNK_POSITIONS),
        ("top_k", command.top_k, 0, vocabulary),
        ("tail_samples", command.tail_samples, 0, MAX_TAIL_SAMPLES),
    )
    for name, value, low, high in limits:
        if not low <= value <= high:
            raise InvalidInput(f"{name}={value}: must be {low} to {high}", field=name)
    if command.named_ids is not None:
        _check_named(command, stop - command.start, vocabulary)


def check_embed(command: Embed, lengths: list[int], context: int) -> None:
    """Refuse an embedding that can never run."""
    if not 1 <= len(lengths) <= MAX_EMBED_PROMPTS:
        raise InvalidInput(f"{len(lengths)} prompts: must be 1 to {MAX_EMBED_PROMPTS}", field="prompts")
    for length in lengths:
        _check_length(length, context, room_for=0)


def _check_named(command: Score, positions: int, vocabulary: int) -> None:
    named = command.named_ids
    assert named is not None
    shape_fits = len(named.shape) == 1 or (len(named.shape) == 2 and named.shape[0] == positions)
    if named.dtype != "int32" or not shape_fits or not 1 <= named.shape[-1] <= MAX_NAMED_IDS:
        raise InvalidInput(
            f"named_ids is {named.dtype} {list(named.shape)}: must be int32 [K] or [{positions}, K] "
            f"with K from 1 to {MAX_NAMED_IDS}",
            field="named_ids",
        )
    ids = named.to_numpy()
    lowest = 0 if ids.ndim == 1 else -1
    if ids.min() < lowest or ids.max() >= vocabulary:
        raise InvalidInput(
            f"named_ids holds {ids.min()}..{ids.max()}: must lie in {lowest}..{vocabulary - 1}", field="named_ids"
        )


def _check_length(tokens: int, context: int, *, room_for: int) -> None:
    if tokens + room_for > context:
        raise InvalidInput(
            f"the prompt has {tokens} tokens, but the context holds {context - room_for} at most; shorten it",
            field="prompt",
            reason="PROMPT_TOO_LONG",
            metadata={"prompt_tokens": str(tokens), "context_tokens": str(context)},
        )


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidInput(f"{name}={value}: must be {low:g} to {high:g}", field=f"sampling.{name}")


def _check_ids(ids: Iterable[int], vocabulary: int, field: str) -> None:
    for index in ids:
        if not 0 <= index < vocabulary:
            raise InvalidInput(f"{field} has token id {index}: must be 0 to {vocabulary - 1}", field=field)
