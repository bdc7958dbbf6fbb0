"""One solved request: what every corpus yields and every training and measurement takes."""

from dataclasses import dataclass

from seodang.tasks.message import Message


@dataclass(frozen=True, slots=True)
class Example:
    """Messages that end where the assistant is to speak, and the answer it should give.

    Assistant turns among the messages are right answers too.
    ``group`` names what a fair split keeps together (a template, an intent, a level); ``language`` is ``ko`` or ``en``.
    """

    messages: tuple[Message, ...]
    answer: str
    source: str
    group: str
    language: str
