"""Constrained completions of a random model: whatever it draws, the answer is what was asked for."""

import json
import re

import jsonschema
import pytest
from tests.tiny_engines import completion_of, drain, end_of, prompt_of, text_of, tokens_of

from seodang.base.errors import InternalFault
from seodang.runtime.engine import Engine
from seodang.worker.messages import (
    Constraint,
    Failed,
    FinishReason,
    JsonSchema,
    Lark,
    Regex,
    SamplingParams,
)

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"enum": ["turn_on", "turn_off"]},
        "room": {"type": "string", "maxLength": 6},
        "levels": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "maxItems": 3},
    },
    "required": ["name", "room"],
    "additionalProperties": False,
}


def run(engine: Engine, constraint: Constraint, seed: int, **fields: object) -> tuple[str, FinishReason]:
    command = completion_of(
        "x",
        prompt_of(9, seed),
        200,
        constraint=constraint,
        sampling=SamplingParams(seed=seed),
        ignore_eos=False,
        **fields,
    )
    engine.generate(command)
    events = drain(engine)
    return text_of(events, "x"), end_of(events, "x").reason


@pytest.mark.parametrize("seed", range(6))
def test_json_follows_its_schema(engine: Engine, seed: int) -> None:
    text, reason = run(engine, JsonSchema(schema=json.dumps(SCHEMA)), seed)
    assert reason in (FinishReason.GRAMMAR_COMPLETE, FinishReason.STOP_TOKEN)
    jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize("seed", range(4))
def test_a_pattern_is_matched_from_end_to_end(engine: Engine, seed: int) -> None:
    text, reason = run(engine, Regex(pattern=r"[가-힣]{2,4} [0-9]{3}"), seed)
    assert reason is FinishReason.GRAMMAR_COMPLETE
    assert re.fullmatch(r"[가-힣]{2,4} [0-9]{3}", text)


def test_a_grammar_is_followed(engine: Engine) -> None:
    text, _ = run(engine, Lark(grammar='start: "go " ("left" | "right") (" then " ("stop" | "jump"))?'), 0)
    assert re.fullmatch(r"go (left|right)( then (stop|jump))?", text)


def test_constrained_and_free_completions_share_a_batch(engine: Engine) -> None:
    free = completion_of("free", prompt_of(9, 1), 20)
    engine.generate(free)
    alone = tokens_of(drain(engine), "free")
    engine.generate(free)
    engine.generate(completion_of("bound", prompt_of(9, 2), 20, constraint=Regex(pattern="[ab]{20}"), top_logprobs=1))
    events = drain(engine)
    assert tokens_of(events, "free") == alone
    assert re.fullmatch("[ab]{20}", text_of(events, "bound"))


def test_an_answer_cut_short_says_so(engine: Engine) -> None:
    engine.generate(completion_of("x", prompt_of(9), 5, constraint=Regex(pattern="[ab]{30}")))
    events = drain(engine)
    assert end_of(events, "x").reason is FinishReason.LENGTH


def test_an_answer_that_fails_its_last_check_ends_in_an_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise InternalFault("does not satisfy its constraint")

    monkeypatch.setattr(engine._grammars, "check", refuse)
    engine.generate(completion_of("x", prompt_of(9), 50, constraint=Regex(pattern="[ab]{4}")))
    *_, last = drain(engine)
    assert isinstance(last, Failed)
    assert last.kind == "InternalFault"
    assert not engine.busy
