"""Replies in English."""

from datetime import datetime

from seodang.adapters.voice.replies.speaker import (
    Arguments,
    Sentence,
    Speaker,
    always,
    durations,
    is_quieter,
    number,
    target,
)

_LOOKING = "Let me check."

_DOMAINS = {"light": "lights", "fan": "fans", "cover": "covers", "switch": "switches", "lock": "lock"}
_CLASSES = {
    "awning": "awning", "blind": "blinds", "curtain": "curtains", "door": "door", "garage": "garage door",
    "gate": "gate", "shade": "shade", "shutter": "shutters", "window": "window",
}  # fmt: skip
# A call by name alone does not say what kind of device it is; the name's end does.
_OPENED = ("blinds", "shade", "curtain", "curtains", "curtain rod", "shutters", "awning", "door", "valve", "skylight")
_LOCKED = ("lock", "deadbolt", "padlock", "safe")


def _about(arguments: Arguments) -> str | None:
    return target(arguments, _DOMAINS, _CLASSES)


def _switched(on: bool) -> Sentence:
    def say(arguments: Arguments, now: datetime) -> str | None:
        what = _about(arguments)
        if what is None:
            return None
        kind = str(arguments.get("domain", ""))
        if kind == "lock" or what.endswith(_LOCKED):
            return f"I'll {'lock' if on else 'unlock'} the {what}."
        if "device_class" in arguments or kind in ("cover", "valve") or what.endswith(_OPENED):
            return f"I'll {'open' if on else 'close'} the {what}."
        return f"I'll turn {'on' if on else 'off'} the {what}."

    return say


def _light(arguments: Arguments, now: datetime) -> str | None:
    what = f"the {about}" if (about := _about(arguments)) else "the light"
    if "brightness" in arguments:
        return f"I'll set {what} to {number(arguments['brightness'])} percent."
    if "color" in arguments:
        return f"I'll turn {what} {arguments['color']}."
    if "temperature" in arguments:
        return f"I'll set {what} to {number(arguments['temperature'])} kelvin."
    return None


def _temperature(arguments: Arguments, now: datetime) -> str | None:
    if "temperature" not in arguments:
        return None
    place = f" of the {about}" if (about := _about(arguments)) else ""
    return f"I'll set the temperature{place} to {number(arguments['temperature'])} degrees."


def _timer(verb: str) -> Sentence:
    def say(arguments: Arguments, now: datetime) -> str:
        parts = [f"{count} {slot.removesuffix('s')}" for count, slot in durations(arguments)]
        return " ".join(["I'll", verb, "the", *parts, "timer."])

    return say


def _volume(arguments: Arguments, now: datetime) -> str | None:
    if "volume_level" not in arguments:
        return None
    return f"I'll set the volume to {number(arguments['volume_level'])} percent."


def _volume_step(arguments: Arguments, now: datetime) -> str:
    return f"I'll turn the volume {'down' if is_quieter(arguments) else 'up'}."


def _item(arguments: Arguments, now: datetime) -> str | None:
    return f"I'll put {arguments['item']} on the list." if "item" in arguments else None


def _time(arguments: Arguments, now: datetime) -> str:
    half = "a.m." if now.hour < 12 else "p.m."
    return f"It is {now.hour % 12 or 12}:{now.minute:02} {half}"


def _date(arguments: Arguments, now: datetime) -> str:
    return f"Today is {now:%A}, {now:%B} {now.day}."


_SENTENCES: dict[str, Sentence] = {
    "HassTurnOn": _switched(True),
    "HassTurnOff": _switched(False),
    "HassLightSet": _light,
    "HassClimateSetTemperature": _temperature,
    "HassStartTimer": _timer("start"),
    "HassCancelTimer": _timer("cancel"),
    "HassCancelAllTimers": always("I'll cancel all timers."),
    "HassPauseTimer": _timer("pause"),
    "HassUnpauseTimer": _timer("go on with"),
    "HassGetCurrentTime": _time,
    "HassGetCurrentDate": _date,
    "HassMediaPause": always("I'll pause it."),
    "HassMediaUnpause": always("I'll go on playing."),
    "HassMediaNext": always("I'll skip to the next one."),
    "HassMediaPrevious": always("I'll go back to the one before."),
    "HassSetVolume": _volume,
    "HassSetVolumeRelative": _volume_step,
    "HassShoppingListAddItem": _item,
    "HassListAddItem": _item,
    "HassVacuumStart": always("I'll start cleaning."),
    "HassVacuumCleanArea": always("I'll start cleaning."),
    "HassNevermind": always("Okay."),
    **dict.fromkeys(
        ("HassGetState", "HassGetWeather", "HassClimateGetTemperature", "HassTimerStatus"), always(_LOOKING)
    ),
}
SPEAKER = Speaker(
    _SENTENCES,
    yes="Okay, I'll do that.",
    not_heard="Sorry, I didn't catch that. Please say it again.",
    not_understood="Sorry, that is nothing I can do.",
)
