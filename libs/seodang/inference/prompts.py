"""Prompts of the contract as prompts of the engine, checked at the door."""

import json
import math
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf import struct_pb2

from seodang.api.inference.v1 import chat_pb2
from seodang.base.errors import InvalidInput, Unsupported
from seodang.worker.messages import (
    ChatMessage,
    ChatPrompt,
    ModelInfo,
    Prompt,
    TextPrompt,
    TokenPrompt,
    ToolCall,
    ToolSchema,
)

ROLES: Final = {
    chat_pb2.ROLE_SYSTEM: "system",
    chat_pb2.ROLE_USER: "user",
    chat_pb2.ROLE_ASSISTANT: "assistant",
    chat_pb2.ROLE_TOOL: "tool",
}


def to_prompt(prompt: chat_pb2.Prompt, info: ModelInfo, *, add_special_tokens: bool = True) -> Prompt:
    """What the engine reads. ``InvalidInput`` names the field that is empty, malformed or out of the vocabulary."""
    kind = prompt.WhichOneof("content")
    if kind == "text":
        return to_text(prompt.text, "prompt.text", add_special_tokens=add_special_tokens)
    if kind == "token_ids":
        return TokenPrompt(token_ids=to_token_ids(prompt.token_ids.ids, info, "prompt.token_ids.ids"))
    if kind == "chat":
        return to_chat(prompt.chat, info, "prompt.chat", add_generation_prompt=True)
    raise InvalidInput("prompt is empty: set one of text, token_ids and chat", field="prompt")


def to_text(text: str, field: str, *, add_special_tokens: bool = True) -> TextPrompt:
    """A plain text that is not empty."""
    if not text:
        raise InvalidInput(f"{field} is empty: send at least one character", field=field)
    return TextPrompt(text=text, add_special_tokens=add_special_tokens)


def to_token_ids(ids: Sequence[int], info: ModelInfo, field: str) -> tuple[int, ...]:
    """Ids of which there is at least one and each is in the vocabulary."""
    if not ids:
        raise InvalidInput(f"{field} is empty: send at least one token id", field=field)
    check_vocabulary(ids, info, field)
    return tuple(ids)


def check_vocabulary(ids: Sequence[int], info: ModelInfo, field: str) -> None:
    """``InvalidInput`` naming the first id that the model's vocabulary does not have."""
    if ids and max(ids) >= info.vocab_size:
        outside = [(at, token) for at, token in enumerate(ids) if token >= info.vocab_size]
        at, token = outside[0]
        raise InvalidInput(
            f"{field}[{at}]={token}: the vocabulary ends at {info.vocab_size - 1} ({len(outside)} ids lie outside); "
            "send ids of this model's own tokenizer",
            field=f"{field}[{at}]",
        )


def to_chat(chat: chat_pb2.ChatPrompt, info: ModelInfo, field: str, *, add_generation_prompt: bool) -> ChatPrompt:
    """A conversation, for a model that has a chat template."""
    if not info.has_chat_template:
        raise Unsupported(f"{field}: {info.architecture} at hand has no chat template; send text or token_ids instead")
    if not chat.messages:
        raise InvalidInput(f"{field}.messages is empty: send at least one turn", field=f"{field}.messages")
    thinking = {"enable_thinking": chat.enable_thinking} if chat.HasField("enable_thinking") else {}
    return ChatPrompt(
        messages=tuple(_turn(turn, f"{field}.messages[{at}]") for at, turn in enumerate(chat.messages)),
        tools=tuple(_tool(tool, f"{field}.tools[{at}]") for at, tool in enumerate(chat.tools)),
        add_generation_prompt=add_generation_prompt,
        template_args=dict(thinking),
    )


def _turn(turn: chat_pb2.Message, field: str) -> ChatMessage:
    role = ROLES.get(turn.role)
    if role is None:
        raise InvalidInput(f"{field}.role={turn.role}: say who speaks", field=f"{field}.role")
    if turn.role == chat_pb2.ROLE_USER and not turn.content:
        raise InvalidInput(f"{field}.content is empty: the user says nothing", field=f"{field}.content")
    if turn.tool_calls and turn.role != chat_pb2.ROLE_ASSISTANT:
        raise InvalidInput(f"{field}.tool_calls: only the assistant calls tools", field=f"{field}.tool_calls")
    if turn.tool_call_id and turn.role != chat_pb2.ROLE_TOOL:
        raise InvalidInput(f"{field}.tool_call_id: only a tool's turn answers a call", field=f"{field}.tool_call_id")
    return ChatMessage(
        role=role,
        content=turn.content,
        tool_calls=tuple(_call(call, f"{field}.tool_calls[{at}]") for at, call in enumerate(turn.tool_calls)),
        tool_call_id=turn.tool_call_id,
    )


def _call(call: chat_pb2.ToolCall, field: str) -> ToolCall:
    if not call.name:
        raise InvalidInput(f"{field}.name is empty: name the tool that was called", field=f"{field}.name")
    return ToolCall(name=call.name, arguments=to_json(call.arguments, f"{field}.arguments"), call_id=call.id)


def _tool(tool: chat_pb2.Tool, field: str) -> ToolSchema:
    if not tool.name:
        raise InvalidInput(f"{field}.name is empty: name the tool", field=f"{field}.name")
    if not tool.HasField("parameters"):
        return ToolSchema(name=tool.name, description=tool.description)
    parameters = to_json(tool.parameters, f"{field}.parameters")
    return ToolSchema(name=tool.name, description=tool.description, parameters=parameters)


def to_json(struct: struct_pb2.Struct, field: str) -> str:
    """JSON text with sorted keys: a Struct has no order of its own, and the same prompt must give the same tokens."""
    return json.dumps(_plain_object(struct, field), ensure_ascii=False, sort_keys=True)


def _plain_object(struct: struct_pb2.Struct, field: str) -> dict[str, Any]:
    return {key: _plain(value, f"{field}.{key}") for key, value in struct.fields.items()}


def _plain(value: struct_pb2.Value, field: str) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _plain_object(value.struct_value, field)
    if kind == "list_value":
        return [_plain(item, f"{field}[{at}]") for at, item in enumerate(value.list_value.values)]
    if kind == "number_value":
        return _number(value.number_value, field)
    return None if kind in (None, "null_value") else getattr(value, kind)


def _number(number: float, field: str) -> int | float:
    if not math.isfinite(number):
        raise InvalidInput(f"{field}={number}: JSON has finite numbers only", field=field)
    # A Struct knows doubles only; people who write 3 do not mean 3.0.
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
