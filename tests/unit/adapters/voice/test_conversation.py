"""A conversation under every order of events: whatever happens when, nothing of an interrupted turn is said."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest

from seodang.adapters.voice.conversation import (
    Conversation,
    ConversationConfig,
    EndUtterance,
    Incoming,
    Outgoing,
    Played,
    ReplyFinished,
    ReplySound,
)
from seodang.adapters.voice.endpointing import SpeechStarted
from seodang.adapters.voice.service import Asking, Decided, Heard, Timing
from seodang.adapters.voice.settings import VoiceSettings
from seodang.adapters.voice.sound import Sound
from seodang.base.errors import SeodangError, Unavailable

RATE = 16_000
CONFIG = ConversationConfig(RATE, RATE, Asking("en"), 300)


@dataclass
class SlowService:
    """Stands for the engines and the student: each turn bears its number, and each step takes a random while."""

    rng: random.Random
    failing: float = 0.1
    settings: VoiceSettings = field(default_factory=lambda: VoiceSettings(reply_lead_ms=100_000))
    turns: int = 0

    async def hear(self, sound: Sound, language: str, timing: Timing) -> Heard:
        self.turns += 1
        number = self.turns
        await self._work()
        return Heard(str(number), language, "engine")

    async def decide(self, heard: Heard, asking: Asking, timing: Timing) -> Decided:
        await self._work()
        return Decided(None, heard.text)

    async def speak(self, text: str, language: str, timing: Timing) -> Sound:
        await self._work()
        return Sound(RATE, np.full(RATE // 2, int(text), np.int16))

    async def _work(self) -> None:
        for _ in range(self.rng.randrange(12)):
            await asyncio.sleep(0)
        if self.rng.random() < self.failing:
            raise Unavailable("out of order")


def happenings(rng: random.Random, speech: Sound) -> list[Incoming]:
    """What a speaker does, at random: speech and silence in pieces, signs and reports in between."""
    silence = np.random.default_rng(0).normal(0, 5, RATE // 2).astype("<i2").tobytes()
    sent: list[Incoming] = []
    for _ in range(rng.randrange(2, 7)):
        sound = b"".join(rng.choice([speech.pcm, silence, silence]) for _ in range(rng.randrange(1, 4)))
        size = rng.randrange(2_000, 20_000)
        sent += [sound[start : start + size] for start in range(0, len(sound), size)]
        sent += rng.choice([[], [], [EndUtterance()], [Played(rng.randrange(1_000))]])
    return sent


async def converse(service: SlowService, sent: list[Incoming], rng: random.Random) -> list[Outgoing]:
    async def incoming() -> AsyncIterator[Incoming]:
        for event in sent:
            for _ in range(rng.randrange(6)):
                await asyncio.sleep(0)
            yield event

    conversation = Conversation(cast(Any, service), CONFIG)
    return [event async for event in conversation.run(incoming())]


def turn_of(event: Outgoing) -> int | None:
    """Which turn an event belongs to, where it can be told."""
    if isinstance(event, Heard):
        return int(event.text)
    if isinstance(event, Decided):
        return int(event.reply)
    if isinstance(event, ReplySound):
        (number,) = set(np.frombuffer(event.pcm, "<i2").tolist())
        return int(number)
    return None


@pytest.mark.parametrize("seed", range(60))
async def test_nothing_of_a_turn_follows_the_speech_that_interrupted_it(speech: Sound, seed: int) -> None:
    rng = random.Random(seed)
    service = SlowService(rng)
    events = await converse(service, happenings(rng, speech), rng)
    newest, over = 0, 0
    for event in events:
        number = turn_of(event)
        if number is not None:
            assert number > over, f"turn {number} speaks after it was over"
            assert number >= newest
            newest = number
        elif isinstance(event, SpeechStarted | ReplyFinished | SeodangError):
            over = max(over, newest)


async def test_every_turn_that_said_something_comes_to_an_end(speech: Sound) -> None:
    for seed in range(30):
        rng = random.Random(1_000 + seed)
        events = await converse(SlowService(rng), happenings(rng, speech), rng)
        open_turn = False
        for event in events:
            if isinstance(event, Heard):
                assert not open_turn
                open_turn = True
            elif isinstance(event, ReplyFinished | SeodangError):
                open_turn = False
        assert not open_turn


async def test_a_listener_that_leaves_ends_the_turn_under_way(speech: Sound) -> None:
    rng = random.Random(0)
    service = SlowService(rng, failing=0.0)
    reached_the_end = asyncio.Event()

    async def incoming() -> AsyncIterator[Incoming]:
        try:
            yield speech.pcm
            yield EndUtterance()
            await asyncio.Event().wait()
        finally:
            reached_the_end.set()

    conversation = Conversation(cast(Any, service), CONFIG)
    events = conversation.run(incoming())
    async for event in events:
        if isinstance(event, Heard):
            break
    await events.aclose()
    assert len(asyncio.all_tasks()) == 1
    assert reached_the_end.is_set()


async def test_what_a_slow_listener_has_not_taken_yet_is_taken_back(speech: Sound) -> None:
    said: asyncio.Queue[Incoming] = asyncio.Queue()

    async def incoming() -> AsyncIterator[Incoming]:
        while True:
            yield await said.get()

    events = Conversation(cast(Any, SlowService(random.Random(0), failing=0.0)), CONFIG).run(incoming())
    said.put_nowait(speech.pcm)
    said.put_nowait(EndUtterance())
    async for event in events:
        if isinstance(event, Decided):
            break
    await _idle()  # the whole reply waits in the outbox now
    said.put_nowait(speech.pcm)
    await _idle()
    started, finished = await anext(events), await anext(events)
    assert isinstance(started, SpeechStarted)
    assert isinstance(finished, ReplyFinished)
    assert finished.interrupted
    await events.aclose()


async def test_a_fault_of_ours_does_not_leave_the_speaker_waiting(speech: Sound) -> None:
    class Broken(SlowService):
        async def decide(self, heard: Heard, asking: Asking, timing: Timing) -> Decided:
            raise ZeroDivisionError("a bug")

    async def incoming() -> AsyncIterator[Incoming]:
        yield speech.pcm
        yield EndUtterance()
        await asyncio.Event().wait()

    conversation = Conversation(cast(Any, Broken(random.Random(0), failing=0.0)), CONFIG)
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(60):
            [event async for event in conversation.run(incoming())]


async def _idle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)
