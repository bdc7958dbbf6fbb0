"""Has the student write a reply to every message, and keeps asking while it cannot."""

import asyncio
import logging
import time
from contextlib import suppress
from typing import Final
from weakref import WeakValueDictionary

from seodang.adapters.messaging.domain import Route, Unanswered
from seodang.adapters.messaging.repository import MessageRepository
from seodang.adapters.messaging.sender import Sender
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.api.inference.v1 import generate_pb2
from seodang.base.errors import DeadlineExpired, InvalidInput, Retriable, SeodangError
from seodang.capture import Keep, keep_nothing
from seodang.client import AsyncClient, chat, complete_async
from seodang.tasks import InvalidAnswer, Message, Role, messaging

log = logging.getLogger(__name__)

_TICK_S: Final = 0.5
_FIRST_BACKOFF_S: Final = 0.5
_LONGEST_BACKOFF_S: Final = 15.0
# Somebody holds the line while such a reply is written.
_PRIORITY: Final = {Route.RESPONSE: 10, Route.POST: 0}


class Replier:
    """Writes replies, several at a time, one at a time in a conversation. ``run`` it in a task."""

    def __init__(
        self,
        repository: MessageRepository,
        student: AsyncClient,
        sender: Sender,
        settings: MessagingSettings,
        keep: Keep = keep_nothing,
    ) -> None:
        self._keep = keep
        self._repository = repository
        self._student = student
        self._sender = sender
        self._settings = settings
        self._wake = asyncio.Event()
        self._busy: set[str] = set()
        # An event lives as long as somebody waits for it.
        self._answered: WeakValueDictionary[int, asyncio.Event] = WeakValueDictionary()

    def wake(self) -> None:
        """There is something new to answer."""
        self._wake.set()

    async def wait_for_reply(self, inbox_id: int, timeout_s: float) -> None:
        """Returns once the message has its reply, or when the time is over."""
        event = self._answered.get(inbox_id) or asyncio.Event()
        self._answered[inbox_id] = event
        if not await self._repository.is_answered(inbox_id):
            with suppress(TimeoutError):
                await asyncio.wait_for(event.wait(), timeout_s)

    async def run(self) -> None:
        """Answers until it is cancelled; what is not answered by then is answered by the next process."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                free = self._settings.answer_slots - len(self._busy)
                if free:
                    for message in await self._repository.unanswered(time.time(), self._busy, free):
                        self._busy.add(message.conversation)
                        group.create_task(self._answer(message))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _TICK_S)

    async def _answer(self, message: Unanswered) -> None:
        try:
            text = await self._reply_text(message)
            if text is not None:
                await self._repository.answer(message.id, text, time.time())
                if event := self._answered.get(message.id):
                    event.set()
                self._sender.wake()
        finally:
            self._busy.discard(message.conversation)
            self._wake.set()

    async def _reply_text(self, message: Unanswered) -> str | None:
        """The student's reply, or the fallback when none can be had; None when it is to be asked again later."""
        try:
            return await self._ask(message)
        except (InvalidInput, InvalidAnswer) as error:
            # The same question would meet the same end.
            log.warning("replies/%s: the fallback is sent: %s", message.uid, error.message)
            return self._settings.fallback_text
        except SeodangError as error:
            hint_s = error.retry_after_s if isinstance(error, Retriable) else 0.0
            backoff_s = min(_FIRST_BACKOFF_S * 2.0**message.attempts, _LONGEST_BACKOFF_S)
            due_s = time.time() + max(hint_s, backoff_s)
            if due_s >= message.answer_by_s:
                log.warning("replies/%s: the fallback is sent, time is over: %s", message.uid, error.message)
                return self._settings.fallback_text
            await self._repository.postpone(message.id, due_s, error.message)
            return None

    async def _ask(self, message: Unanswered) -> str:
        timeout_s = min(self._settings.student_timeout_s, message.answer_by_s - time.time())
        if timeout_s <= 0:
            raise DeadlineExpired("the message came too long ago")
        history: list[Message] = []
        for said, replied in await self._repository.history(message, self._settings.history_turns):
            history += [Message(Role.USER, said), Message(Role.ASSISTANT, replied)]
        prompt = messaging.messages(messaging.MessagingRequest(message.text, tuple(history)))
        request = generate_pb2.GenerateRequest(
            request_id=message.uid,
            model=self._settings.model,
            prompt=chat((turn.role.value, turn.content) for turn in prompt),
            sampling=generate_pb2.Sampling(temperature=0),
            max_new_tokens=self._settings.max_reply_tokens,
            priority=_PRIORITY[message.route],
        )
        completion = await complete_async(self._student, request, timeout_s)
        self._keep(message.conversation, request, completion.model, completion.text)
        return messaging.parse(completion.text).text
