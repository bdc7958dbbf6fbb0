"""Short ways to say the most usual thing: ask a model, get its text."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.api.types.v1 import usage_pb2
from seodang.base.errors import InternalFault
from seodang.client.client import AsyncClient, Client
from seodang.rpc import from_fault

RoleName: TypeAlias = Literal["system", "user", "assistant", "tool"]
ROLES: dict[RoleName, chat_pb2.Role.ValueType] = {
    "system": chat_pb2.ROLE_SYSTEM,
    "user": chat_pb2.ROLE_USER,
    "assistant": chat_pb2.ROLE_ASSISTANT,
    "tool": chat_pb2.ROLE_TOOL,
}


@dataclass(frozen=True)
class Completion:
    """A finished generation."""

    text: str
    model: str
    reason: generate_pb2.FinishReason.ValueType
    usage: usage_pb2.Usage


def chat(turns: Iterable[tuple[RoleName, str]]) -> chat_pb2.Prompt:
    """A conversation as a prompt."""
    messages = [chat_pb2.Message(role=ROLES[role], content=content) for role, content in turns]
    return chat_pb2.Prompt(chat=chat_pb2.ChatPrompt(messages=messages))


def complete(client: Client, request: generate_pb2.GenerateRequest, timeout_s: float = 60.0) -> Completion:
    """Generates and waits for the whole text.

    Raises:
        SeodangError: the call was refused, or the generation failed on its way.
    """
    return _collected(list(client.inference.Generate(request, timeout=timeout_s)))


async def complete_async(
    client: AsyncClient, request: generate_pb2.GenerateRequest, timeout_s: float = 60.0
) -> Completion:
    """The twin of ``complete`` for an event loop."""
    return _collected([event async for event in client.inference.Generate(request, timeout=timeout_s)])


def _collected(events: Sequence[generate_pb2.GenerateResponse]) -> Completion:
    last = events[-1] if events else generate_pb2.GenerateResponse()
    if last.HasField("fault"):
        raise from_fault(last.fault)
    if not last.HasField("finished"):
        raise InternalFault(f"the generation ended after {len(events)} events without saying how: report it")
    return Completion(
        text="".join(event.delta.text for event in events),
        model=events[0].accepted.model,
        reason=last.finished.reason,
        usage=last.finished.usage,
    )
