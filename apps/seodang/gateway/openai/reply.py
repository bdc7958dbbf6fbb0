"""What the replies of chat and text completions share: the envelope, why an answer ended, and what it used."""

import time
from dataclasses import dataclass, field
from typing import Final

from seodang.api.inference.v1 import generate_pb2
from seodang.api.types.v1 import usage_pb2
from seodang.base.errors import InternalFault
from seodang.gateway.upstreams import short_name

_FINISH: Final = {
    generate_pb2.FINISH_REASON_STOP_TOKEN: "stop",
    generate_pb2.FINISH_REASON_STOP_STRING: "stop",
    generate_pb2.FINISH_REASON_CONSTRAINT: "stop",
    generate_pb2.FINISH_REASON_LENGTH: "length",
}


@dataclass(frozen=True)
class Envelope:
    """What every object of one answer carries; ``kind`` is ``chat.completion`` or ``text_completion``."""

    id: str
    model: str
    created_s: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def of(cls, prefix: str, accepted: generate_pb2.Accepted) -> "Envelope":
        """The envelope of an accepted generation."""
        return cls(f"{prefix}-{accepted.request_id}", short_name(accepted.model))

    def around(self, kind: str, choices: list[dict[str, object]], **more: object) -> dict[str, object]:
        """An object of the answer."""
        return {
            "id": self.id,
            "object": kind,
            "created": self.created_s,
            "model": self.model,
            "choices": choices,
            **more,
        }


def finish_reason(finished: generate_pb2.Finished) -> str:
    """Why an answer ended, in OpenAI's words.

    Raises:
        InternalFault: the server gave no reason.
    """
    reason = _FINISH.get(finished.reason)
    if reason is None:
        name = generate_pb2.FinishReason.Name(finished.reason)
        raise InternalFault(f"a generation ended with {name}, which says nothing: report it")
    return reason


def usage_of(usage: usage_pb2.Usage) -> dict[str, object]:
    """What an answer used, in OpenAI's words."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_prompt_tokens},
    }
