"""What a model is given to read."""

from typing import TypeAlias

import msgspec

from seodang.worker.messages.record import Message, Record


class TextPrompt(Message, frozen=True, tag="text"):
    """Plain text, tokenised with the checkpoint's own special tokens unless told otherwise."""

    text: str
    add_special_tokens: bool = True


class ToolCall(Record, frozen=True):
    """A call that the assistant made in an earlier turn; ``arguments`` is JSON text."""

    name: str
    arguments: str
    call_id: str = ""


class ChatMessage(Record, frozen=True):
    """One turn of a conversation."""

    role: str
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    name: str = ""


class ToolSchema(Record, frozen=True):
    """A tool that the model may call; ``parameters`` is the JSON schema of its arguments, as JSON text."""

    name: str
    description: str = ""
    parameters: str = '{"type": "object", "properties": {}}'


class ChatPrompt(Message, frozen=True, tag="chat"):
    """A conversation, rendered by the checkpoint's chat template.

    ``template_args`` reach the template as they are, such as ``{"enable_thinking": True}``.
    """

    messages: tuple[ChatMessage, ...]
    tools: tuple[ToolSchema, ...] = ()
    add_generation_prompt: bool = True
    template_args: dict[str, bool | int | float | str] = msgspec.field(default_factory=dict)


class TokenPrompt(Message, frozen=True, tag="tokens"):
    """Token ids, used as they are."""

    token_ids: tuple[int, ...]


Prompt: TypeAlias = TextPrompt | ChatPrompt | TokenPrompt
