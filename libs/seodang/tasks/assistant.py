"""Assistant: a spoken or typed request becomes one tool call.

The system message names the catalogue of tools (``tools: home``); the answer is compact JSON:
``{"name":"HassTurnOn","arguments":{"area":"거실"}}``.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from seodang.tasks.message import Message, Role
from seodang.tasks.parsing import InvalidAnswer

ArgumentValue = str | int | float | bool

# The catalogues that the bundled teacher knows. Another model may know others: the prompt takes any name.
HOME = "home"
CLINC150 = "clinc150"
HWU64 = "hwu64"


@dataclass(frozen=True, slots=True)
class AssistantRequest:
    """What the user said, and the name of the tool catalogue that the call must come from."""

    text: str
    catalogue: str = HOME


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool by name with its arguments; values are JSON scalars."""

    name: str
    arguments: Mapping[str, ArgumentValue] = field(default_factory=lambda: MappingProxyType({}))


def messages(request: AssistantRequest) -> list[Message]:
    """The prompt of one request."""
    return [Message(Role.SYSTEM, f"tools: {request.catalogue}"), Message(Role.USER, request.text)]


def render(call: ToolCall) -> str:
    """The call as the model writes it: compact JSON, arguments in the order given."""
    body = {"name": call.name, "arguments": dict(call.arguments)}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))


def parse(text: str) -> ToolCall:
    """Read a model's text.

    Raises:
        InvalidAnswer: not JSON, not an object with ``name`` and ``arguments`` only, or an argument is no scalar.
    """
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidAnswer(f"a tool call must be JSON ({error})", text=text) from None
    if not isinstance(body, dict) or set(body) != {"name", "arguments"}:
        raise InvalidAnswer("a tool call must be an object with exactly 'name' and 'arguments'", text=text)
    name, arguments = body["name"], body["arguments"]
    if not isinstance(name, str) or not name:
        raise InvalidAnswer("a tool's name must be a non-empty string", text=text)
    if not isinstance(arguments, dict):
        raise InvalidAnswer("a tool's arguments must be an object", text=text)
    for key, value in arguments.items():
        if not isinstance(value, str | int | float | bool):
            raise InvalidAnswer(f"argument {key!r} must be a string, a number or a boolean", text=text)
    return ToolCall(name, MappingProxyType(arguments))


def _refuse_constant(constant: str) -> float:
    raise ValueError(f"{constant} is no JSON value")


def score(predicted: str, expected: str) -> dict[str, float]:
    """``name``: the right tool; ``exact``: the right tool with exactly the right arguments, in any order."""
    wanted = parse(expected)
    try:
        call = parse(predicted)
    except InvalidAnswer:
        return {"name": 0.0, "exact": 0.0}
    same_name = call.name == wanted.name
    return {"name": float(same_name), "exact": float(same_name and dict(call.arguments) == dict(wanted.arguments))}
