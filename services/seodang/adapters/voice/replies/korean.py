"""Replies in Korean."""

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

_LOOKING = "확인해 볼게요."

_DOMAINS = {"light": "불", "fan": "팬", "cover": "가리개", "switch": "스위치", "lock": "문", "climate": "온도"}
_CLASSES = {
    "awning": "차양", "blind": "블라인드", "curtain": "커튼", "door": "문", "garage": "차고 문", "gate": "대문",
    "shade": "셰이드", "shutter": "셔터", "window": "창문",
}  # fmt: skip
_COLOURS = {
    "white": "흰색", "black": "검은색", "red": "빨간색", "orange": "주황색", "yellow": "노란색", "green": "초록색",
    "blue": "파란색", "purple": "보라색", "brown": "갈색", "pink": "분홍색", "turquoise": "청록색",
}  # fmt: skip
# A call by name alone does not say what kind of device it is; the name's end does.
_OPENED = ("블라인드", "커튼", "롤스크린", "셔터", "차광막", "문", "밸브", "창", "가리개")
_LOCKED = ("도어락", "자물쇠", "금고", "보조키")
_UNITS = {"hours": "시간", "minutes": "분", "seconds": "초"}
_WEEKDAYS = "월화수목금토일"
# Which digit, read out, ends in a consonant; 1, 7 and 8 end in ㄹ.
_DIGIT_TAILS = {"0": "ㅇ", "1": "ㄹ", "3": "ㅁ", "6": "ㄱ", "7": "ㄹ", "8": "ㄹ"}


def _about(arguments: Arguments) -> str | None:
    return target(arguments, _DOMAINS, _CLASSES)


def _switched(on: bool) -> Sentence:
    def say(arguments: Arguments, now: datetime) -> str | None:
        what = _about(arguments)
        if what is None:
            return None
        kind = str(arguments.get("domain", ""))
        if kind == "lock" or what.endswith(_LOCKED):
            return f"{_object(what)} 잠글게요." if on else f"{what} 잠금을 풀게요."
        if "device_class" in arguments or kind in ("cover", "valve") or what.endswith(_OPENED):
            return f"{_object(what)} {'열' if on else '닫을'}게요."
        return f"{_object(what)} {'켤' if on else '끌'}게요."

    return say


def _light(arguments: Arguments, now: datetime) -> str | None:
    what = f"{about} " if (about := _about(arguments)) else ""
    if "brightness" in arguments:
        return f"{what}밝기를 {number(arguments['brightness'])}퍼센트로 맞출게요."
    if "color" in arguments:
        colour = str(arguments["color"])
        return f"{what}색을 {_direction(_COLOURS.get(colour, colour))} 바꿀게요."
    if "temperature" in arguments:
        return f"{what}색온도를 {number(arguments['temperature'])}켈빈으로 맞출게요."
    return None


def _temperature(arguments: Arguments, now: datetime) -> str | None:
    if "temperature" not in arguments:
        return None
    what = f"{about} " if (about := _about(arguments)) else ""
    return f"{what}온도를 {number(arguments['temperature'])}도로 맞출게요."


def _timer(verb: str) -> Sentence:
    def say(arguments: Arguments, now: datetime) -> str:
        parts = [f"{count}{_UNITS[slot]}" for count, slot in durations(arguments)]
        return " ".join([*parts, "타이머를", verb])

    return say


def _volume(arguments: Arguments, now: datetime) -> str | None:
    if "volume_level" not in arguments:
        return None
    return f"소리를 {number(arguments['volume_level'])}퍼센트로 맞출게요."


def _volume_step(arguments: Arguments, now: datetime) -> str:
    return "소리를 줄일게요." if is_quieter(arguments) else "소리를 키울게요."


def _item(arguments: Arguments, now: datetime) -> str | None:
    return f"{_object(str(arguments['item']))} 목록에 넣을게요." if "item" in arguments else None


def _time(arguments: Arguments, now: datetime) -> str:
    half, hour = ("오전", now.hour) if now.hour < 12 else ("오후", now.hour - 12)
    return f"지금은 {half} {hour or 12}시{f' {now.minute}분이' if now.minute else '예'}에요."


def _date(arguments: Arguments, now: datetime) -> str:
    return f"오늘은 {now.month}월 {now.day}일 {_WEEKDAYS[now.weekday()]}요일이에요."


_SENTENCES: dict[str, Sentence] = {
    "HassTurnOn": _switched(True),
    "HassTurnOff": _switched(False),
    "HassLightSet": _light,
    "HassClimateSetTemperature": _temperature,
    "HassStartTimer": _timer("시작할게요."),
    "HassCancelTimer": _timer("취소할게요."),
    "HassCancelAllTimers": always("모든 타이머를 취소할게요."),
    "HassPauseTimer": _timer("멈출게요."),
    "HassUnpauseTimer": _timer("다시 시작할게요."),
    "HassGetCurrentTime": _time,
    "HassGetCurrentDate": _date,
    "HassMediaPause": always("재생을 멈출게요."),
    "HassMediaUnpause": always("다시 재생할게요."),
    "HassMediaNext": always("다음으로 넘길게요."),
    "HassMediaPrevious": always("이전으로 돌아갈게요."),
    "HassSetVolume": _volume,
    "HassSetVolumeRelative": _volume_step,
    "HassShoppingListAddItem": _item,
    "HassListAddItem": _item,
    "HassVacuumStart": always("청소를 시작할게요."),
    "HassVacuumCleanArea": always("청소를 시작할게요."),
    "HassNevermind": always("네, 알겠어요."),
    **dict.fromkeys(
        ("HassGetState", "HassGetWeather", "HassClimateGetTemperature", "HassTimerStatus"), always(_LOOKING)
    ),
}
SPEAKER = Speaker(
    _SENTENCES,
    yes="네, 그렇게 할게요.",
    not_heard="죄송해요, 잘 듣지 못했어요. 다시 말씀해 주세요.",
    not_understood="죄송해요, 그건 제가 할 수 없는 일이에요.",
)


def _tail(word: str) -> str:
    """The final consonant of a word as it is read, empty after a vowel; ㄹ counts apart."""
    last = word[-1:]
    if "가" <= last <= "힣":
        final = (ord(last) - ord("가")) % 28
        return "" if final == 0 else "ㄹ" if final == 8 else "ㅇ"
    return _DIGIT_TAILS.get(last, "")


def _object(word: str) -> str:
    return f"{word}{'을' if _tail(word) else '를'}"


def _direction(word: str) -> str:
    return f"{word}{'로' if _tail(word) in ('', 'ㄹ') else '으로'}"
