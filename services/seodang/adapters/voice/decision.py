"""What was heard becomes one call of a home's tools, decided by a student and checked here."""

import logging
from dataclasses import dataclass
from functools import cache

import home_assistant_intents

from seodang.api.inference.v1 import generate_pb2
from seodang.capture import OnAnswer
from seodang.client import AsyncClient, chat, complete_async
from seodang.tasks import InvalidAnswer, assistant

log = logging.getLogger(__name__)

# The longest call of the catalogue, with room for long names.
_MAX_NEW_TOKENS = 128


@dataclass(frozen=True, slots=True)
class Student:
    """A model of the student server, asked for tool calls."""

    client: AsyncClient
    model: str
    timeout_s: float
    on_answer: OnAnswer | None = None

    async def decide(self, text: str, request_id: str = "") -> assistant.ToolCall | None:
        """The call for what was said; None if the student's answer is no call of the catalogue.

        Raises:
            SeodangError: the student cannot be asked, fails, or does not answer in time.
        """
        messages = assistant.messages(assistant.AssistantRequest(text, assistant.HOME))
        request = generate_pb2.GenerateRequest(
            request_id=request_id,
            model=self.model,
            prompt=chat((message.role.value, message.content) for message in messages),
            sampling=generate_pb2.Sampling(temperature=0),
            max_new_tokens=_MAX_NEW_TOKENS,
        )
        completion = await complete_async(self.client, request, self.timeout_s)
        if self.on_answer is not None:
            self.on_answer(request, completion.model, completion.text)
        try:
            call = assistant.parse(completion.text.strip())
        except InvalidAnswer as error:
            log.info("no call for what was said: %s", error.message)
            return None
        if not is_known(call):
            log.info("no tool %s with %s", call.name, ", ".join(call.arguments) or "no arguments")
            return None
        return call


def is_known(call: assistant.ToolCall) -> bool:
    """Is it a tool of the home catalogue, with arguments that the tool has?"""
    arguments = _catalogue().get(call.name)
    return arguments is not None and set(call.arguments) <= arguments


@cache
def _catalogue() -> dict[str, frozenset[str]]:
    """The arguments of each tool: Home Assistant's intents and their slots."""
    intents = home_assistant_intents.get_intent_info() or {}
    return {name: frozenset(intent.get("slots", ())) for name, intent in intents.items()}
