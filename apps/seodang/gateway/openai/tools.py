"""Tools that a client offers, the calls it reports back, and the shape that forces the model to call one."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from seodang.api.inference.v1 import chat_pb2
from seodang.base.errors import InvalidInput
from seodang.gateway.openai.body import Body, Text, struct_of

_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,128}$")]


class FunctionBody(Body):
    """A function that the model may call."""

    name: _Name
    description: Text | None = None
    parameters: dict[str, JsonValue] | None = None
    """JSON Schema of the arguments; a function without one takes none."""
    strict: Any = None
    """Accepted, without effect: arguments are constrained whenever a call is required."""

    def arguments_schema(self) -> dict[str, JsonValue]:
        """JSON Schema of the arguments."""
        return self.parameters or {"type": "object", "properties": {}, "additionalProperties": False}


class ToolBody(Body):
    """A tool; only functions exist."""

    type: Literal["function"]
    function: FunctionBody

    def tool(self) -> chat_pb2.Tool:
        """The tool as the mesh carries it."""
        function = self.function
        return chat_pb2.Tool(
            name=function.name,
            description=function.description or "",
            parameters=struct_of(function.arguments_schema(), "tools.function.parameters"),
        )


class CalledFunction(Body):
    """What was called; ``arguments`` is JSON text."""

    name: Text
    arguments: Text


class ToolCallBody(Body):
    """A call that the assistant made in an earlier turn."""

    id: Text
    type: Literal["function"]
    function: CalledFunction
    index: Any = None
    """Accepted, without effect: streaming clients send back what they collected."""

    def call(self) -> chat_pb2.ToolCall:
        """The call as the mesh carries it."""
        try:
            arguments = json.loads(self.function.arguments)
        except (json.JSONDecodeError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise InvalidInput(
                f"tool call {self.id!r}: arguments must be the text of a JSON object",
                field="messages.tool_calls.arguments",
            )
        return chat_pb2.ToolCall(
            id=self.id, name=self.function.name, arguments=struct_of(arguments, "messages.tool_calls.arguments")
        )


class ChosenName(Body):
    """A function by name."""

    name: str


class ChosenFunction(Body):
    """The one function to call."""

    type: Literal["function"]
    function: ChosenName


ToolChoice = Literal["none", "auto", "required"] | ChosenFunction


def call_schema(tools: list[ToolBody], choice: ToolChoice | None) -> dict[str, JsonValue] | None:
    """The JSON Schema of one call of the tools that ``choice`` leaves; None if the model may answer freely.

    Raises:
        InvalidInput: a call is required, and there is nothing to call.
    """
    if choice is None or choice in ("none", "auto"):
        return None
    left = [
        tool for tool in tools if not isinstance(choice, ChosenFunction) or tool.function.name == choice.function.name
    ]
    if not left:
        raise InvalidInput("tool_choice requires a call of a tool that is not among 'tools'", field="tool_choice")
    calls: list[JsonValue] = [_schema_of(tool.function) for tool in left]
    return {"anyOf": calls}


def _schema_of(function: FunctionBody) -> dict[str, JsonValue]:
    return {
        "type": "object",
        "properties": {"name": {"const": function.name}, "arguments": function.arguments_schema()},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }
