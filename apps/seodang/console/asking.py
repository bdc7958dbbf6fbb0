"""Questions to models, each answered on a thread of its own, so that a page can show several answers as they grow."""

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from seodang.api.inference.v1 import chat_pb2, generate_pb2
from seodang.api.types.v1 import usage_pb2
from seodang.base.errors import SeodangError
from seodang.client import chat
from seodang.client.generation import RoleName
from seodang.console.servers import Held
from seodang.rpc import from_fault
from seodang.tasks import Message

REDRAW_S: Final = 0.08
"""How often a page shows what has come since."""

Turns = list[tuple[RoleName, str]]


def spoken(system: str, turns: Turns) -> chat_pb2.Prompt:
    """Turns of a conversation after a system message, if there is one."""
    return chat([("system", system), *turns] if system.strip() else turns)


def prompt_of(messages: Iterable[Message]) -> chat_pb2.Prompt:
    """The prompt of one of the adapters' jobs."""
    return chat([(message.role.value, message.content) for message in messages])


@dataclass
class Answer:
    """What has been answered so far; only the thread that reads writes it."""

    asked: Held
    text: str = ""
    tokens: int = 0
    first_token_s: float | None = None
    """From the question to the first token, as seen from here."""
    took_s: float = 0.0
    reason: str = ""
    usage: usage_pb2.Usage = field(default_factory=usage_pb2.Usage)
    error: SeodangError | None = None
    ended: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def tokens_per_s(self) -> float | None:
        """Speed of writing after the first token; None before there are two."""
        if self.first_token_s is None or self.tokens < 2:
            return None
        return (self.tokens - 1) / max(self.took_s - self.first_token_s, 1e-9)


@contextmanager
def asking(questions: Sequence[tuple[Held, generate_pb2.GenerateRequest]], timeout_s: float) -> Iterator[list[Answer]]:
    """Asks all of them at once; leaving the context cancels what is not answered yet."""
    readers = [_Reader(held, request, timeout_s) for held, request in questions]
    try:
        yield [reader.answer for reader in readers]
    finally:
        for reader in readers:
            reader.stop()


class _Reader:
    def __init__(self, held: Held, request: generate_pb2.GenerateRequest, timeout_s: float) -> None:
        self.answer = Answer(held)
        self._began_s = time.perf_counter()
        self._call = held.server.client.inference.Generate(request, timeout=timeout_s)
        self._thread = threading.Thread(target=self._read, name=f"answer of {held.model.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._call.cancel()
        self._thread.join()

    def _read(self) -> None:
        try:
            for event in self._call:
                self._take(event)
        except SeodangError as error:
            self.answer.error = error
        self.answer.ended.set()

    def _take(self, event: generate_pb2.GenerateResponse) -> None:
        answer, now_s = self.answer, time.perf_counter() - self._began_s
        answer.took_s = now_s
        match event.WhichOneof("event"):
            case "delta":
                if answer.first_token_s is None:
                    answer.first_token_s = now_s
                answer.tokens += len(event.delta.tokens)
                answer.text += event.delta.text
            case "finished":
                answer.usage = event.finished.usage
                name = generate_pb2.FinishReason.Name(event.finished.reason)
                answer.reason = name.removeprefix("FINISH_REASON_").lower().replace("_", " ")
            case "fault":
                raise from_fault(event.fault)
