"""Tells a tool call from plain text while the answer is still being written.

A call is what every model of the mesh is trained to write, ``seodang.tasks.assistant``'s
``{"name": ..., "arguments": {...}}``, alone or inside ``<tool_call>`` tags, as the Hermes and Qwen templates
ask for.
"""

import json
import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

_OPEN: Final = "<tool_call>"
_TAGGED = re.compile(r"\s*<tool_call>(.*?)(?:</tool_call>|\Z)\s*", re.DOTALL)


@dataclass(frozen=True)
class ToolCall:
    """A call; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str


class Outcome(StrEnum):
    """What an answer to a request with tools turned out to be."""

    CALL = "call"
    TEXT = "text"
    UNKNOWN_NAME = "unknown_name"
    """The form of a call, of a tool that was not offered; it is left as text."""
    INVALID_JSON = "invalid_json"
    """It began like a call and is none; it is left as text."""


@dataclass(frozen=True)
class Settled:
    """The answer's end: text that was held back, or the calls that it turned out to be."""

    text: str
    calls: Sequence[ToolCall]
    outcome: Outcome


class ToolAnswer:
    """Holds text back for as long as it may become a call of one of ``names``."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names
        self._held = ""
        self._holding = bool(names)

    def add(self, text: str) -> str:
        """Takes new text and returns what is certain to be no call."""
        if not self._holding:
            return text
        self._held += text
        start = self._held.lstrip()
        if not start or start.startswith(("{", _OPEN)) or _OPEN.startswith(start):
            return ""
        self._holding = False
        released, self._held = self._held, ""
        return released

    def settle(self) -> Settled:
        """Decides, once the answer has ended."""
        if not self._held.strip():
            return Settled(self._held, (), Outcome.TEXT)
        bodies = _TAGGED.findall(self._held) if self._held.lstrip().startswith(_OPEN) else [self._held]
        calls = [_call(body) for body in bodies]
        found = [call for call in calls if call is not None]
        if len(found) != len(calls):
            return Settled(self._held, (), Outcome.INVALID_JSON)
        if any(call.name not in self._names for call in found):
            return Settled(self._held, (), Outcome.UNKNOWN_NAME)
        return Settled("", found, Outcome.CALL)


def _call(text: str) -> ToolCall | None:
    try:
        body = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(body, dict) or set(body) != {"name", "arguments"}:
        return None
    name, arguments = body["name"], body["arguments"]
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    return ToolCall(f"call_{uuid.uuid4().hex[:24]}", name, json.dumps(arguments, ensure_ascii=False))
