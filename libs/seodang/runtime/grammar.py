"""Constrained completions: which tokens may come next, and whether what came is what was asked for."""

import json
from functools import lru_cache
from typing import Any

import jsonschema
import llguidance
import llguidance.hf
import numpy as np
import torch

from seodang.base.errors import InternalFault, InvalidInput
from seodang.runtime.tokenizer import Tokenizer
from seodang.worker.messages import Constraint, JsonSchema, Lark, Regex

# Between JSON tokens: enough to indent, too little to go on for ever.
_JSON_WHITESPACE = r"[\x20\x0A\x0D\x09]{1,40}"
COMPILED_KEPT = 64
LARK_HEADER = "%llguidance"


class Grammars:
    """Compiles constraints for one tokenizer and keeps the last ones."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._compiled = lru_cache(COMPILED_KEPT)(self._compile)
        self._tokens: llguidance.LLTokenizer | None = None

    def start(self, constraint: Constraint) -> "Grammar":
        """A fresh walk through a constraint; ``InvalidInput`` if it is malformed or cannot be enforced."""
        return Grammar(constraint, self._compiled(constraint).deep_copy(), self._tokenizer.vocab_size)

    def check(self, constraint: Constraint, text: str) -> None:
        """Read a finished text once more, from its characters, against the constraint."""
        matcher = self._compiled(constraint).deep_copy()
        complete = matcher.consume_tokens(self._words().tokenize_str(text)) and matcher.is_accepting()
        problem = "" if complete else "the text is no sentence of the grammar"
        if isinstance(constraint, JsonSchema) and not problem:
            problem = _schema_problem(constraint, text)
        if problem:
            raise InternalFault(f"the constrained answer {text[:200]!r} does not satisfy its constraint: {problem}")

    def _words(self) -> llguidance.LLTokenizer:
        if self._tokens is None:  # takes up to a second, and most models never need it
            self._tokens = llguidance.hf.from_tokenizer(
                self._tokenizer.core, n_vocab=self._tokenizer.vocab_size, eos_token=list(self._tokenizer.eos_token_ids)
            )
        return self._tokens

    def _compile(self, constraint: Constraint) -> llguidance.LLMatcher:
        if not self._tokenizer.eos_token_ids:
            raise InvalidInput("the model has no end token, so no answer can be constrained", field="constraint")
        grammar = _to_grammar(constraint)
        matcher = llguidance.LLMatcher(self._words(), grammar, log_level=0)
        if matcher.is_error():
            raise InvalidInput(f"the constraint cannot be used: {_first_line(matcher.get_error())}", field="constraint")
        return matcher


class Grammar:
    """How far one completion has come in its constraint."""

    def __init__(self, constraint: Constraint, matcher: llguidance.LLMatcher, vocabulary: int) -> None:
        self.constraint = constraint
        self._matcher = matcher
        self._vocabulary = vocabulary

    @property
    def complete(self) -> bool:
        """Whether no token but an end token may follow."""
        return bool(self._matcher.is_stopped())

    @property
    def satisfied(self) -> bool:
        """Whether the completion may end here."""
        return bool(self._matcher.is_accepting())

    def allowed(self) -> torch.Tensor:
        """Which tokens may come next: bool [V]."""
        bits = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")
        if self._matcher.is_error():
            raise InvalidInput(
                f"the constraint is too complex to follow: {_first_line(self._matcher.get_error())}", field="constraint"
            )
        return torch.from_numpy(bits[: self._vocabulary].astype(bool))

    def take(self, token: int) -> None:
        """Go on by a token that was allowed."""
        if not self._matcher.consume_token(token):
            raise InternalFault(f"token {token} was drawn against its constraint: {self._matcher.get_error()}")


def to_lark(constraint: Constraint) -> str:
    """A well-formed constraint as one grammar in the dialect of llguidance, which its first line names."""
    source = _to_grammar(constraint)
    if not isinstance(constraint, Lark):
        (grammar,) = json.loads(source)["grammars"]
        source = grammar["lark_grammar"] or f"start: %json {json.dumps(grammar['json_schema'], ensure_ascii=False)}"
    return source if source.startswith(LARK_HEADER) else f"{LARK_HEADER} {{}}\n{source}"


def _to_grammar(constraint: Constraint) -> str:
    """What llguidance compiles."""
    try:
        match constraint:
            case JsonSchema(schema=schema):
                content = _as_schema(schema)
                jsonschema.validators.validator_for(content).check_schema(content)
                return llguidance.LLMatcher.grammar_from_json_schema(
                    schema, defaults={"whitespace_flexible": True, "whitespace_pattern": _JSON_WHITESPACE}
                )
            case Regex(pattern=pattern):
                return llguidance.LLMatcher.grammar_from_regex(pattern)
            case Lark(grammar=source):
                return llguidance.LLMatcher.grammar_from_lark(source)
    except (ValueError, jsonschema.SchemaError) as error:
        raise InvalidInput(f"the constraint is malformed: {_first_line(str(error))}", field="constraint") from error


def _as_schema(text: str) -> dict[str, Any]:
    schema = json.loads(text)
    if not isinstance(schema, dict):
        raise ValueError(f"a JSON schema is an object, not {type(schema).__name__}")
    return schema


def _schema_problem(constraint: JsonSchema, text: str) -> str:
    try:
        jsonschema.validate(json.loads(text), json.loads(constraint.schema))
    except (ValueError, jsonschema.ValidationError) as error:
        return _first_line(str(error))
    return ""


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else "no reason given"
