"""One turn of a conversation, as the chat template takes it."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """Who speaks; the values are the names that chat templates know."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Message:
    """What one speaker says in one turn."""

    role: Role
    content: str

    def as_dict(self) -> dict[str, str]:
        """The ``{"role": ..., "content": ...}`` form of chat APIs and templates."""
        return {"role": self.role.value, "content": self.content}
