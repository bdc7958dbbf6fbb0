"""The body of ``POST /v1/chat/completions``, and the request to the mesh that it means."""

import json
from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.base.errors import InvalidInput
from seodang.gateway.openai.body import Body, Text
from seodang.gateway.openai.sampling import SamplingBody
from seodang.gateway.openai.tools import ToolBody, ToolCallBody, ToolChoice, call_schema
from seodang.gateway.upstreams import resource_name


class TextPart(Body):
    """A piece of text of a message; pieces of other kinds are refused."""

    type: Literal["text"]
    text: Text
    cache_control: Any = None
    """Accepted, without effect: prefixes are always reused."""


class MessageBody(Body):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart] | None = None
    tool_calls: list[ToolCallBody] | None = None
    tool_call_id: Text | None = None

    # Accepted, without effect.
    name: str | None = None
    refusal: None = None
    annotations: Any = None
    reasoning_content: Any = None

    def message(self) -> chat_pb2.Message:
        """The turn as the mesh carries it."""
        if self.content is None and not self.tool_calls:
            raise InvalidInput(f"a message of role {self.role} has neither content nor tool_calls", field="messages")
        parts = self.content if isinstance(self.content, list) else []
        return chat_pb2.Message(
            role=_ROLES[self.role],
            content=self.content if isinstance(self.content, str) else "".join(part.text for part in parts),
            tool_calls=[call.call() for call in self.tool_calls or ()],
            tool_call_id=self.tool_call_id or "",
        )


class JsonSchemaFormat(Body):
    """A named JSON Schema."""

    name: str
    schema_: dict[str, JsonValue] = Field(alias="schema")

    # Accepted, without effect: every schema is followed strictly.
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Body):
    """The shape of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    def constraint(self) -> generate_pb2.Constraint | None:
        """The shape as the mesh's constraint; None for plain text."""
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise InvalidInput(
                "response_format: json_schema belongs to type json_schema, and only to it", field="response_format"
            )
        if self.json_schema is not None:
            return generate_pb2.Constraint(json_schema=json.dumps(self.json_schema.schema_))
        if self.type == "json_object":
            return generate_pb2.Constraint(json_object=generate_pb2.Constraint.JsonObject())
        return None


class ChatBody(SamplingBody):
    """OpenAI's fields that we serve, ours, and those that are accepted without effect. Any other field is refused."""

    messages: Annotated[list[MessageBody], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    response_format: ResponseFormat | None = None
    tools: list[ToolBody] | None = None
    tool_choice: ToolChoice | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    """``none`` switches a model's thinking off, anything else on."""
    modalities: list[Literal["text"]] | None = None

    store: bool | None = None
    """The person agrees to this exchange being kept for training; without effect unless the operator keeps any."""
    safety_identifier: Text | None = None
    """Pseudonym of the person, by which what was kept can be erased."""
    user: Text | None = None
    """The same, as older clients say it."""

    # Accepted, without effect: they steer OpenAI's own storage, billing and caching.
    metadata: Any = None
    service_tier: Any = None
    parallel_tool_calls: Any = None
    prediction: Any = None
    prompt_cache_key: Any = None
    prompt_cache_options: Any = None
    prompt_cache_retention: Any = None

    def offered(self) -> list[ToolBody]:
        """The tools that the model may call."""
        return [] if self.tool_choice == "none" else self.tools or []

    def subject(self) -> str:
        """Pseudonym of the person; empty if the client gives none."""
        return self.safety_identifier or self.user or ""

    def request(self, request_id: str) -> generate_pb2.GenerateRequest:
        """The request to the mesh.

        Raises:
            InvalidInput: fields that contradict each other.
        """
        prompt = chat_pb2.ChatPrompt(
            messages=[message.message() for message in self.messages],
            tools=[tool.tool() for tool in self.offered()],
            enable_thinking=None if self.reasoning_effort is None else self.reasoning_effort != "none",
        )
        return generate_pb2.GenerateRequest(
            request_id=request_id,
            model=resource_name(self.model),
            prompt=chat_pb2.Prompt(chat=prompt),
            sampling=self.sampling(),
            stopping=self.stopping(),
            constraint=self._constraint(),
            max_new_tokens=self._max_new_tokens(),
            logprobs=bool(self.logprobs),
            top_logprobs=self._top_logprobs(),
            priority=self.priority,
        )

    def _max_new_tokens(self) -> int | None:
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise InvalidInput("max_tokens and max_completion_tokens differ: send only the latter", field="max_tokens")
        return self.max_completion_tokens or self.max_tokens

    def _top_logprobs(self) -> int:
        if self.top_logprobs is not None and not self.logprobs:
            raise InvalidInput("top_logprobs needs logprobs=true", field="top_logprobs")
        return self.top_logprobs or 0

    def _constraint(self) -> generate_pb2.Constraint | None:
        shape = self.response_format.constraint() if self.response_format else None
        schema = call_schema(self.tools or [], self.tool_choice)
        if schema is None:
            return shape
        if shape is not None:
            raise InvalidInput("a required tool call and a response_format exclude each other", field="response_format")
        return generate_pb2.Constraint(json_schema=json.dumps(schema))


_ROLES: Final[dict[str, chat_pb2.Role.ValueType]] = {
    "system": chat_pb2.ROLE_SYSTEM,
    "developer": chat_pb2.ROLE_SYSTEM,
    "user": chat_pb2.ROLE_USER,
    "assistant": chat_pb2.ROLE_ASSISTANT,
    "tool": chat_pb2.ROLE_TOOL,
}
