from collections.abc import Mapping
from datetime import datetime

import home_assistant_intents
import pytest

from seodang.adapters.voice.replies import SPEAKERS
from seodang.tasks.assistant import ArgumentValue, ToolCall

NOW = datetime(2026, 3, 2, 15, 5)


def reply(language: str, tool: str, arguments: Mapping[str, ArgumentValue]) -> str:
    return SPEAKERS[language].reply(ToolCall(f"Hass{tool}", arguments), NOW)


@pytest.mark.parametrize(
    ("said", "tool", "arguments"),
    [
        ("거실 불을 켤게요.", "TurnOn", {"area": "거실", "domain": "light"}),
        ("안방 에어컨을 끌게요.", "TurnOff", {"area": "안방", "name": "에어컨"}),
        ("거실 커튼을 열게요.", "TurnOn", {"area": "거실", "device_class": "curtain", "domain": "cover"}),
        ("블라인드를 닫을게요.", "TurnOff", {"name": "블라인드"}),
        ("도어락을 잠글게요.", "TurnOn", {"name": "도어락"}),
        ("도어락 잠금을 풀게요.", "TurnOff", {"name": "도어락"}),
        ("서재 밝기를 50퍼센트로 맞출게요.", "LightSet", {"area": "서재", "brightness": 50.0}),
        ("거실 불 색을 빨간색으로 바꿀게요.", "LightSet", {"area": "거실", "domain": "light", "color": "red"}),
        ("침실 온도를 23도로 맞출게요.", "ClimateSetTemperature", {"area": "침실", "temperature": 23}),
        ("1시간 30분 타이머를 시작할게요.", "StartTimer", {"hours": 1, "minutes": 30}),
        ("10분 타이머를 취소할게요.", "CancelTimer", {"start_minutes": 10}),
        ("지금은 오후 3시 5분이에요.", "GetCurrentTime", {}),
        ("오늘은 3월 2일 월요일이에요.", "GetCurrentDate", {}),
        ("두부를 목록에 넣을게요.", "ShoppingListAddItem", {"item": "두부"}),
        ("소리를 줄일게요.", "SetVolumeRelative", {"volume_step": -10}),
        ("네, 그렇게 할게요.", "LightSet", {}),
        ("네, 그렇게 할게요.", "LawnMowerDock", {}),
    ],
)
def test_korean_replies_say_what_will_be_done(said: str, tool: str, arguments: dict[str, ArgumentValue]) -> None:
    assert reply("ko", tool, arguments) == said


@pytest.mark.parametrize(
    ("said", "tool", "arguments"),
    [
        ("I'll turn on the kitchen lights.", "TurnOn", {"area": "kitchen", "domain": "light"}),
        ("I'll close the blinds.", "TurnOff", {"name": "blinds"}),
        ("I'll lock the deadbolt.", "TurnOn", {"name": "deadbolt"}),
        ("I'll set the office to 40 percent.", "LightSet", {"area": "office", "brightness": 40}),
        ("I'll set the temperature to 20.5 degrees.", "ClimateSetTemperature", {"temperature": 20.5}),
        ("I'll start the 5 minute timer.", "StartTimer", {"minutes": 5}),
        ("It is 3:05 p.m.", "GetCurrentTime", {}),
        ("Today is Monday, March 2.", "GetCurrentDate", {}),
        ("I'll turn the volume up.", "SetVolumeRelative", {"volume_step": "up"}),
        ("Okay, I'll do that.", "TurnOn", {}),
    ],
)
def test_english_replies_say_what_will_be_done(said: str, tool: str, arguments: dict[str, ArgumentValue]) -> None:
    assert reply("en", tool, arguments) == said


@pytest.mark.parametrize("language", SPEAKERS)
def test_every_tool_of_the_home_gets_some_reply_whatever_its_arguments(language: str) -> None:
    intents = home_assistant_intents.get_intent_info()
    assert intents
    for name, intent in intents.items():
        slots = list(intent.get("slots", {}))
        for chosen in ([], slots, *([slot] for slot in slots)):
            for value in ("up", 1.5, True):
                assert SPEAKERS[language].reply(ToolCall(name, dict.fromkeys(chosen, value)), NOW).strip()
