"""Generate: the contract's request as the engine's command, the engine's events as the contract's responses."""

import uuid
from typing import Any, Final

from google.protobuf import struct_pb2

from seodang.api.inference.v1 import generate_pb2
from seodang.api.types.v1 import usage_pb2
from seodang.base.errors import InvalidInput
from seodang.inference.constraints import to_constraint
from seodang.inference.directory import ServedModel
from seodang.inference.prompts import check_vocabulary, to_prompt
from seodang.inference.sampling import Range, to_sampling
from seodang.worker.messages import (
    Accepted,
    Finished,
    FinishReason,
    Generate,
    TokenDelta,
    TokenLogprob,
    TopToken,
    Usage,
)

MAX_STOP_STRINGS: Final = 16
MAX_TOP_LOGPROBS: Final = 64
PRIORITIES: Final = Range(-100, 100)

# The engine's switches that no other engine needs to understand, with what they mean when they are not set.
EXTRA: Final = {"include_stop": False, "skip_special_tokens": True, "add_special_tokens": True}

_REASONS: Final = {
    FinishReason.STOP_TOKEN: generate_pb2.FINISH_REASON_STOP_TOKEN,
    FinishReason.STOP_STRING: generate_pb2.FINISH_REASON_STOP_STRING,
    FinishReason.GRAMMAR_COMPLETE: generate_pb2.FINISH_REASON_CONSTRAINT,
    FinishReason.LENGTH: generate_pb2.FINISH_REASON_LENGTH,
    FinishReason.CONTEXT: generate_pb2.FINISH_REASON_LENGTH,
    FinishReason.CANCELLED: generate_pb2.FINISH_REASON_CANCELLED,
}


def to_generate(request: generate_pb2.GenerateRequest, model: ServedModel) -> Generate:
    """The engine's command. ``InvalidInput`` names the field that cannot work."""
    extra = _extra(request.extra)
    check_vocabulary(request.stopping.token_ids, model.info, "stopping.token_ids")
    PRIORITIES.check(request.priority, "priority")
    return Generate(
        # Not the caller's: it may be used again while the engine still says its last word about the one before.
        request_id=uuid.uuid4().hex,
        model_id=model.info.model_id,
        prompt=to_prompt(request.prompt, model.info, add_special_tokens=extra["add_special_tokens"]),
        sampling=to_sampling(request.sampling, model.info, model.sampling),
        constraint=to_constraint(request.constraint) if request.HasField("constraint") else None,
        max_new_tokens=_max_new_tokens(request),
        stop=_stop_strings(request),
        stop_token_ids=tuple(request.stopping.token_ids),
        ignore_eos=request.stopping.ignore_end_tokens,
        include_stop=extra["include_stop"],
        skip_special_tokens=extra["skip_special_tokens"],
        top_logprobs=_top_logprobs(request),
        priority=request.priority,
    )


def _max_new_tokens(request: generate_pb2.GenerateRequest) -> int | None:
    if not request.HasField("max_new_tokens"):
        return None
    if request.max_new_tokens < 1:
        raise InvalidInput(
            f"max_new_tokens={request.max_new_tokens}: must be at least 1; leave it unset to fill the context",
            field="max_new_tokens",
        )
    return request.max_new_tokens


def _stop_strings(request: generate_pb2.GenerateRequest) -> tuple[str, ...]:
    strings = tuple(request.stopping.strings)
    if len(strings) > MAX_STOP_STRINGS or not all(strings):
        raise InvalidInput(
            f"stopping.strings: at most {MAX_STOP_STRINGS}, none of them empty; got {len(strings)}",
            field="stopping.strings",
        )
    return strings


def _top_logprobs(request: generate_pb2.GenerateRequest) -> int | None:
    wanted = request.top_logprobs
    if not 0 <= wanted <= MAX_TOP_LOGPROBS:
        raise InvalidInput(f"top_logprobs={wanted}: must be 0 to {MAX_TOP_LOGPROBS}", field="top_logprobs")
    return wanted if wanted or request.logprobs else None


def _extra(extra: struct_pb2.Struct) -> dict[str, bool]:
    chosen = dict(EXTRA)
    for key, value in extra.fields.items():
        if key not in EXTRA:
            raise InvalidInput(f"extra.{key} is not understood: known are {', '.join(EXTRA)}", field=f"extra.{key}")
        if value.WhichOneof("kind") != "bool_value":
            raise InvalidInput(f"extra.{key} must be true or false", field=f"extra.{key}")
        chosen[key] = value.bool_value
    return chosen


def to_response(
    event: Accepted | TokenDelta | Finished, request_id: str, model: ServedModel
) -> generate_pb2.GenerateResponse:
    """One engine event as one event of the stream."""
    if isinstance(event, Accepted):
        accepted = generate_pb2.Accepted(request_id=request_id, model=model.name, prompt_tokens=event.prompt_tokens)
        return generate_pb2.GenerateResponse(accepted=accepted)
    if isinstance(event, TokenDelta):
        return generate_pb2.GenerateResponse(delta=generate_pb2.Delta(text=event.text, tokens=_tokens(event)))
    matched = str(event.stop_token_id) if event.stop_token_id is not None else event.stop_string
    finished = generate_pb2.Finished(reason=_REASONS[event.reason], matched_stop=matched, usage=to_usage(event.usage))
    return generate_pb2.GenerateResponse(finished=finished)


def _tokens(delta: TokenDelta) -> list[generate_pb2.GeneratedToken]:
    if not delta.logprobs:
        return [generate_pb2.GeneratedToken(id=token_id) for token_id in delta.token_ids]
    return [_token(logprob) for logprob in delta.logprobs]


def _token(logprob: TokenLogprob) -> generate_pb2.GeneratedToken:
    chosen = logprob.chosen
    return generate_pb2.GeneratedToken(
        id=chosen.token_id,
        logprob=chosen.logprob,
        piece=chosen.piece,
        alternatives=[_alternative(token) for token in logprob.top],
    )


def _alternative(token: TopToken) -> generate_pb2.Alternative:
    text = token.piece.decode(errors="replace")
    return generate_pb2.Alternative(id=token.token_id, text=text, logprob=token.logprob, piece=token.piece)


def to_usage(usage: Usage) -> usage_pb2.Usage:
    """Seconds of the engine as milliseconds of the contract."""
    message: dict[str, Any] = {"first_token_ms": usage.first_token_s * 1e3} if usage.completion_tokens else {}
    return usage_pb2.Usage(
        prompt_tokens=usage.prompt_tokens,
        cached_prompt_tokens=usage.cached_tokens,
        completion_tokens=usage.completion_tokens,
        queue_ms=usage.queue_s * 1e3,
        total_ms=usage.total_s * 1e3,
        drafted_tokens=usage.drafted_tokens,
        accepted_draft_tokens=usage.accepted_tokens,
        **message,
    )
