import json
from pathlib import Path

import pytest
from tests.tiny_checkpoints import EOS, config_of

from seodang.base.errors import InternalFault, InvalidInput
from seodang.runtime.grammar import Grammars
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import Constraint, JsonSchema, Lark, Regex, TextPrompt

SCHEMA = JsonSchema(
    schema=json.dumps(
        {
            "type": "object",
            "properties": {"room": {"enum": ["거실", "kitchen"]}, "level": {"type": "integer", "minimum": 0}},
            "required": ["room"],
            "additionalProperties": False,
        }
    )
)
GREETING = Lark(grammar='start: "안녕" ("하세요" | "!")')


@pytest.fixture(scope="module")
def tokenizer(llama_folder: Path) -> Tokenizer:
    return Tokenizer(llama_folder, config_of("llama"))


@pytest.fixture(scope="module")
def grammars(tokenizer: Tokenizer) -> Grammars:
    return Grammars(tokenizer)


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (SCHEMA, '{"room":"거실"}'),
        (SCHEMA, '{"room": "kitchen",\n    "level": 3}'),
        (Regex(pattern=r"\d{3}-\d{4}"), "010-1234"),
        (GREETING, "안녕하세요"),
        (JsonSchema(schema="{}"), '[1, {"a": null}]'),
    ],
)
def test_a_text_that_satisfies_is_walked_through_and_passes(
    grammars: Grammars, tokenizer: Tokenizer, constraint: Constraint, text: str
) -> None:
    grammar = grammars.start(constraint)
    for token in tokenizer.encode(TextPrompt(text=text)):
        assert grammar.allowed()[token]
        grammar.take(token)
    assert grammar.satisfied
    grammars.check(constraint, text)


@pytest.mark.parametrize(
    ("constraint", "text"),
    [
        (SCHEMA, '{"room":"bath"}'),
        (SCHEMA, '{"room":"거실"'),
        (SCHEMA, '{"room":"거실","level":-1}'),
        (Regex(pattern=r"\d{3}-\d{4}"), "010-123"),
        (Regex(pattern=r"\d{3}-\d{4}"), "010-12345"),
        (GREETING, "안녕"),
        (GREETING, ""),
    ],
)
def test_a_text_that_does_not_satisfy_never_leaves(grammars: Grammars, constraint: Constraint, text: str) -> None:
    with pytest.raises(InternalFault, match="does not satisfy"):
        grammars.check(constraint, text)


def test_the_end_token_is_allowed_only_where_the_answer_may_end(grammars: Grammars, tokenizer: Tokenizer) -> None:
    grammar = grammars.start(Regex(pattern="ab?"))
    assert not grammar.allowed()[EOS]
    (a,) = tokenizer.encode(TextPrompt(text="a"))
    grammar.take(a)
    assert grammar.allowed()[EOS]
    assert not grammar.complete
    (b,) = tokenizer.encode(TextPrompt(text="b"))
    grammar.take(b)
    assert grammar.complete


def test_two_walks_through_one_constraint_do_not_touch(grammars: Grammars, tokenizer: Tokenizer) -> None:
    first, second = grammars.start(GREETING), grammars.start(GREETING)
    before = second.allowed()
    first.take(tokenizer.encode(TextPrompt(text="안녕"))[0])
    assert (second.allowed() == before).all()


def test_a_token_against_the_constraint_is_our_fault(grammars: Grammars, tokenizer: Tokenizer) -> None:
    with pytest.raises(InternalFault, match="drawn against its constraint"):
        grammars.start(Regex(pattern="a")).take(tokenizer.encode(TextPrompt(text="z"))[0])


@pytest.mark.parametrize(
    "constraint",
    [
        JsonSchema(schema="{not json"),
        JsonSchema(schema="[]"),
        JsonSchema(schema='{"type": "no such type"}'),
        JsonSchema(schema='{"not": {"type": "string"}, "type": "string"}'),
        Regex(pattern="(unclosed"),
        Regex(pattern=r"(?<=look)behind"),
        Lark(grammar="start: missing_rule"),
        Lark(grammar=""),
    ],
)
def test_malformed_and_unenforceable_constraints_are_refused(grammars: Grammars, constraint: Constraint) -> None:
    with pytest.raises(InvalidInput, match="constraint") as caught:
        grammars.start(constraint)
    assert caught.value.field == "constraint"
