"""What a language needs to reply, and the wording that languages share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from seodang.tasks.assistant import ArgumentValue, ToolCall

Arguments = Mapping[str, ArgumentValue]
Sentence = Callable[[Arguments, datetime], str | None]


@dataclass(frozen=True, slots=True)
class Speaker:
    """One language. ``sentences`` make the reply to a call of a tool; None where its arguments do not fill it."""

    sentences: Mapping[str, Sentence]
    yes: str
    not_heard: str
    not_understood: str

    def reply(self, call: ToolCall, now: datetime) -> str:
        """The answer to a call; a tool without a sentence of its own gets a short yes."""
        say = self.sentences.get(call.name)
        return (say(call.arguments, now) if say else None) or self.yes


def always(sentence: str) -> Sentence:
    """The same words whatever the arguments are."""
    return lambda arguments, now: sentence


def target(arguments: Arguments, domains: Mapping[str, str], classes: Mapping[str, str]) -> str | None:
    """What a call is about, place first: "kitchen lights"; ``domains`` and ``classes`` name kinds of things."""
    place = arguments.get("area", arguments.get("floor"))
    thing = arguments.get("name")
    if thing is None and "device_class" in arguments:
        thing = classes.get(str(arguments["device_class"]))
    if thing is None and "domain" in arguments:
        thing = domains.get(str(arguments["domain"]))
    return " ".join(str(part) for part in (place, thing) if part is not None) or None


def number(value: ArgumentValue) -> str:
    """A number without needless zeros: 50.0 is said as 50."""
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def durations(arguments: Arguments) -> list[tuple[str, str]]:
    """The (number, slot) pairs of a timer, hours first."""
    keys = ((slot, key) for slot in ("hours", "minutes", "seconds") for key in (slot, f"start_{slot}"))
    return [(number(arguments[key]), slot) for slot, key in keys if key in arguments]


def is_quieter(arguments: Arguments) -> bool:
    """Does a relative change of the volume go down?"""
    step = arguments.get("volume_step", "up")
    return step == "down" or (isinstance(step, int | float) and step < 0)
