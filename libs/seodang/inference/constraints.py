"""Shapes that an output must have, as the engine's three kinds."""

import json
import re
from collections.abc import Sequence
from typing import Final

from seodang.api.inference.v1 import generate_pb2
from seodang.base.errors import InvalidInput
from seodang.worker.messages import Constraint, JsonSchema, Lark, Regex

MAX_OPTIONS: Final = 1024
_ANY_OBJECT: Final = '{"type": "object"}'
_SPECIAL: Final = re.compile(r"[\\.+*?()|\[\]{}^$#&\-~/]")


def to_constraint(constraint: generate_pb2.Constraint) -> Constraint:
    """The engine's constraint. ``InvalidInput`` names what is empty or malformed; the engine itself judges the rest."""
    kind = constraint.WhichOneof("shape")
    if kind == "json_schema":
        return JsonSchema(schema=_schema(constraint.json_schema))
    if kind == "json_object":
        return JsonSchema(schema=_ANY_OBJECT)
    if kind == "regex":
        return Regex(pattern=_filled(constraint.regex, "constraint.regex"))
    if kind == "lark_grammar":
        return Lark(grammar=_filled(constraint.lark_grammar, "constraint.lark_grammar"))
    if kind == "choice":
        return _choice(constraint.choice.options)
    raise InvalidInput("constraint sets no shape: set one of its fields, or leave it out", field="constraint")


def _schema(text: str) -> str:
    field = "constraint.json_schema"
    try:
        schema = json.loads(_filled(text, field))
    except json.JSONDecodeError as error:
        raise InvalidInput(f"{field} is not JSON: {error}", field=field) from error
    if not isinstance(schema, dict):
        raise InvalidInput(f"{field} is a JSON {type(schema).__name__}; a schema is an object", field=field)
    return text


def _choice(options: Sequence[str]) -> Regex:
    field = "constraint.choice.options"
    if not 1 <= len(options) <= MAX_OPTIONS or not all(options):
        raise InvalidInput(f"{field}: send 1 to {MAX_OPTIONS} texts, none empty; got {len(options)}", field=field)
    # A regular expression, not a grammar, since its words need no quoting rules of their own.
    return Regex(pattern="|".join(f"({_literal(option)})" for option in options))


def _literal(text: str) -> str:
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _filled(text: str, field: str) -> str:
    if not text:
        raise InvalidInput(f"{field} is empty: write what the output must be, or leave it out", field=field)
    return text
