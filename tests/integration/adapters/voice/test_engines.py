"""Clients of speech engines against servers that fail in every way, and the built-in servers against odd clients."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_read_event, async_write_event, write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info, TtsProgram, TtsVoice
from wyoming.tts import Synthesize, SynthesizeVoice

from seodang.adapters.voice.engines import Recogniser, Synthesiser
from seodang.adapters.voice.sound import Sound
from seodang.base.errors import DeadlineExpired, Unavailable, Unsupported

SOUND = Sound(16_000, np.zeros(3_200, np.int16))
MAKER = Attribution(name="nobody", url="")
FACTS: dict[str, Any] = {"attribution": MAKER, "installed": True, "description": None, "version": None}
MODEL = AsrModel(name="m", languages=["ko-KR", "en_US"], **FACTS)
VOICE = TtsVoice(name="v", languages=["ko"], **FACTS)
INFO = Info(
    asr=[AsrProgram(name="other-stt", models=[MODEL], **FACTS)],
    tts=[TtsProgram(name="other-tts", voices=[VOICE], **FACTS)],
)
Answer = Callable[[Event, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: Answer, info: Info = INFO) -> AsyncIterator[str]:
    """Somebody else's Wyoming server, which describes itself and leaves the rest to ``answer``."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while (event := await async_read_event(reader)) is not None:
                if Describe.is_type(event.type):
                    await async_write_event(info.event(), writer)
                else:
                    await answer(event, writer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def on(type_: type, *events: Event) -> Answer:
    """Answers one kind of event with others."""

    async def answer(event: Event, writer: asyncio.StreamWriter) -> None:
        if type_.is_type(event.type):  # type: ignore[attr-defined]
            for sent in events:
                await async_write_event(sent, writer)

    return answer


async def test_any_recogniser_that_speaks_wyoming_plugs_in() -> None:
    said = Transcript(text=" 거실 불 켜줘 ").event()
    async with serving(on(AudioStop, Event(type="something-new"), said)) as uri:
        recogniser = Recogniser(uri, 10)
        assert await recogniser.transcribe(SOUND, "ko") == "거실 불 켜줘"
        assert (await recogniser.describe()).languages == ("ko", "en")


async def test_any_synthesiser_that_speaks_wyoming_plugs_in() -> None:
    form = {"rate": 24_000, "width": 2, "channels": 1}
    chunks = [AudioChunk(audio=bytes([n, 0] * 5), **form).event() for n in (1, 2)]
    async with serving(on(Synthesize, AudioStart(**form).event(), *chunks, AudioStop().event())) as uri:
        sound = await Synthesiser(uri, 10).speak("안녕", "ko")
    assert (sound.rate, sound.samples.tolist()) == (24_000, [1] * 5 + [2] * 5)


async def test_a_language_that_the_engine_does_not_know_is_refused_with_those_it_does() -> None:
    async with serving(on(Synthesize)) as uri:
        with pytest.raises(Unsupported, match=r"other-tts .* 'en': it knows ko"):
            await Synthesiser(uri, 10).speak("hello", "en")


async def test_a_server_of_the_other_kind_is_told_apart() -> None:
    async with serving(on(AudioStop), Info(tts=INFO.tts)) as uri:
        with pytest.raises(Unavailable, match="is no speech recogniser"):
            await Recogniser(uri, 10).transcribe(SOUND, "ko")


async def test_an_address_where_nobody_listens_is_named() -> None:
    with pytest.raises(Unavailable, match=r"no speech recogniser answers at tcp://127\.0\.0\.1:9"):
        await Recogniser("tcp://127.0.0.1:9", 10).transcribe(SOUND, "ko")


async def test_a_silent_server_is_given_up_in_time() -> None:
    async with serving(on(Describe)) as uri:
        with pytest.raises(DeadlineExpired, match=r"within 0\.5 s"):
            await Recogniser(uri, 0.5).transcribe(SOUND, "ko")


async def test_what_the_engine_says_about_its_failure_is_passed_on() -> None:
    async with serving(on(AudioStop, Error(text="out of memory").event())) as uri:
        with pytest.raises(Unavailable, match="out of memory"):
            await Recogniser(uri, 10).transcribe(SOUND, "ko")


async def test_a_transcript_without_text_is_no_wyoming() -> None:
    async with serving(on(AudioStop, Event(type="transcript", data={}))) as uri:
        with pytest.raises(Unavailable, match="does not speak Wyoming"):
            await Recogniser(uri, 10).transcribe(SOUND, "ko")


async def test_a_server_that_hangs_up_is_unavailable() -> None:
    async def hang_up(event: Event, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serving(hang_up) as uri:
        with pytest.raises(Unavailable):
            await Recogniser(uri, 10).transcribe(SOUND, "ko")


@pytest.mark.parametrize("form", [{"width": 4, "channels": 1}, {"width": 2, "channels": 2}])
async def test_a_form_of_sound_that_cannot_be_used_is_refused(form: dict[str, int]) -> None:
    chunk = AudioChunk(rate=24_000, audio=bytes(8), **form).event()
    async with serving(on(Synthesize, chunk, AudioStop().event())) as uri:
        with pytest.raises(Unavailable, match=f"{form['width']} bytes a sample on {form['channels']}"):
            await Synthesiser(uri, 10).speak("안녕", "ko")


async def test_a_reply_without_sound_is_unavailable() -> None:
    async with serving(on(Synthesize, AudioStop().event())) as uri:
        with pytest.raises(Unavailable, match="0 bytes of sound"):
            await Synthesiser(uri, 10).speak("안녕", "ko")


async def _answer_of(uri: str, *events: Event) -> Event | None:
    said = io.BytesIO()
    for event in events:
        write_event(event, said)
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_unix_connection(uri.removeprefix("unix://"))
        try:
            # In one piece: the service may answer and hang up at the first event that it cannot take.
            writer.write(said.getvalue())
            return await async_read_event(reader)
        finally:
            writer.close()


@pytest.mark.parametrize(
    ("language", "form", "audio", "said"),
    [
        ("fr", {"rate": 16_000, "width": 2, "channels": 1}, bytes(3200), "'fr'"),
        (None, {"rate": 16_000, "width": 2, "channels": 1}, bytes(3200), "language ''"),
        ("ko", {"rate": 16_000, "width": 4, "channels": 1}, bytes(3200), "4 bytes"),
        ("ko", {"rate": 16_000, "width": 2, "channels": 1}, bytes(3), "3 bytes"),
        ("ko", {"rate": 16_000, "width": 2, "channels": 1}, b"", "0 bytes"),
    ],
)
async def test_the_built_in_recogniser_says_what_it_cannot_take(
    engines: Any, language: str | None, form: dict[str, int], audio: bytes, said: str
) -> None:
    chunk = AudioChunk(audio=audio, **form).event()
    answer = await _answer_of(engines.recogniser, Transcribe(language=language).event(), chunk, AudioStop().event())
    assert answer is not None
    assert said in Error.from_event(answer).text


@pytest.mark.parametrize(("text", "language", "said"), [("", "ko", "0 characters"), ("salut", "fr", "'fr'")])
async def test_the_built_in_synthesiser_says_what_it_cannot_speak(
    engines: Any, text: str, language: str, said: str
) -> None:
    request = Synthesize(text=text, voice=SynthesizeVoice(language=language)).event()
    answer = await _answer_of(engines.synthesiser, request)
    assert answer is not None
    assert said in Error.from_event(answer).text


async def test_the_built_in_recogniser_survives_a_client_that_speaks_nonsense(engines: Any) -> None:
    _, writer = await asyncio.open_unix_connection(engines.recogniser.removeprefix("unix://"))
    writer.write(b"GET / HTTP/1.1\r\n\r\n" + json.dumps({"type": 7}).encode() + b"\n")
    writer.close()
    assert (await Recogniser(engines.recogniser, 60).describe()).name == "pocketsphinx"
