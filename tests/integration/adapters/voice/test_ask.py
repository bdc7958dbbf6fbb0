import struct
from typing import Any

import numpy as np
import pytest
from tests.scripted.inference import words

from seodang.adapters.voice.endpointing import has_speech
from seodang.adapters.voice.sound import Sound
from seodang.adapters.voice.wav import read_wav, write_wav
from seodang.api.voice.v1 import voice_pb2 as pb
from seodang.base.errors import InvalidInput, NotFound, Unavailable


async def test_a_korean_command_becomes_text_a_call_and_a_spoken_reply(mesh: Any) -> None:
    wav = write_wav(await mesh.spoken("거실 불 켜줘", "ko"))
    answer = await mesh.client.voice.Ask(pb.AskRequest(wav=wav, language="ko"), timeout=90)
    assert (answer.transcript.text, answer.transcript.engine) == ("거실 불 켜줘", "pocketsphinx")
    assert answer.tool_call.name == "HassTurnOn"
    assert dict(answer.tool_call.arguments) == {"area": "거실", "domain": "light"}
    assert answer.reply_text == "거실 불을 켤게요."
    reply = read_wav(answer.reply_wav)
    assert 0.8 < reply.seconds < 4
    assert has_speech(reply)
    prompt = mesh.student.requests[0].prompt.chat.messages
    assert [message.content for message in prompt] == ["tools: home", "거실 불 켜줘"]


async def test_an_english_command_is_heard_and_answered_in_english(mesh: Any) -> None:
    mesh.student.answer = lambda request: words(
        '{"name":"HassTurnOff","arguments":{"area":"kitchen","domain":"light"}}'
    )
    wav = write_wav(await mesh.spoken("turn off the kitchen lights", "en"))
    answer = await mesh.client.voice.Ask(pb.AskRequest(wav=wav, language="en"), timeout=90)
    assert answer.transcript.text == "turn off the kitchen lights"
    assert answer.reply_text == "I'll turn off the kitchen lights."
    assert has_speech(read_wav(answer.reply_wav))
    assert min(answer.timing.recognition_ms, answer.timing.decision_ms, answer.timing.synthesis_ms) > 0


@pytest.mark.parametrize(("rate", "bits", "channels"), [(16000, 16, 1), (48000, 24, 2), (44100, 32, 1), (22050, 8, 2)])
async def test_every_permitted_form_of_wav_is_heard(mesh: Any, rate: int, bits: int, channels: int) -> None:
    spoken = (await mesh.spoken("지금 몇 시야", "ko")).resampled(rate)
    mesh.student.answer = lambda request: words('{"name":"HassGetCurrentTime","arguments":{}}')
    request = pb.AskRequest(wav=_wav(spoken, bits, channels), language="ko", text_only=True)
    answer = await mesh.client.voice.Ask(request, timeout=90)
    assert answer.transcript.text == "지금 몇 시야"
    assert answer.reply_text == "지금은 오후 3시 5분이에요."
    assert answer.reply_wav == b""


async def test_silence_is_answered_with_a_request_to_say_it_again(mesh: Any) -> None:
    quiet = Sound(16_000, np.random.default_rng(0).normal(0, 3, 16_000).astype(np.int16))
    answer = await mesh.client.voice.Ask(pb.AskRequest(wav=write_wav(quiet), language="ko"), timeout=90)
    assert answer.transcript.text == ""
    assert not answer.HasField("tool_call")
    assert answer.reply_text.startswith("죄송해요, 잘 듣지 못했어요")
    assert mesh.student.requests == []


@pytest.mark.parametrize(
    "text",
    [
        "I would love to!",
        '{"name":"HassTurnOn"}',
        '{"name":"LaunchRocket","arguments":{}}',
        '{"name":"HassTurnOn","arguments":{"planet":"mars"}}',
        "",
    ],
)
async def test_an_answer_that_is_no_call_of_the_home_is_not_passed_on(mesh: Any, text: str) -> None:
    mesh.student.answer = lambda request: words(text)
    wav = write_wav(await mesh.spoken("거실 불 켜줘", "ko"))
    answer = await mesh.client.voice.Ask(pb.AskRequest(wav=wav, language="ko", text_only=True), timeout=90)
    assert not answer.HasField("tool_call")
    assert answer.reply_text == "죄송해요, 그건 제가 할 수 없는 일이에요."


async def test_a_student_that_is_away_is_said_to_be(mesh: Any) -> None:
    mesh.student.refusal = Unavailable("the student is loading")
    wav = write_wav(await mesh.spoken("거실 불 켜줘", "ko"))
    with pytest.raises(Unavailable, match="loading"):
        await mesh.client.voice.Ask(pb.AskRequest(wav=wav, language="ko"), timeout=90)


async def test_an_unknown_model_is_not_found(mesh: Any) -> None:
    wav = write_wav(await mesh.spoken("거실 불 켜줘", "ko"))
    with pytest.raises(NotFound, match="models/nobody"):
        await mesh.client.voice.Ask(pb.AskRequest(wav=wav, language="ko", model="models/nobody"), timeout=90)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("ko", "오늘 회사에서 회의가 세 번이나 있었어"),
        ("ko", "요즘 운동을 시작했더니 몸이 가벼워"),
        ("en", "she has been waiting for the bus for an hour"),
        ("en", "the dog chased a squirrel up the tree"),
    ],
)
async def test_what_is_no_command_is_not_taken_for_the_nearest_one(mesh: Any, language: str, said: str) -> None:
    wav = write_wav(await mesh.spoken(said, language))
    answer = await mesh.client.voice.Ask(pb.AskRequest(wav=wav, language=language, text_only=True), timeout=90)
    assert answer.transcript.text == ""
    assert not answer.HasField("tool_call")
    assert mesh.student.requests == []


@pytest.mark.parametrize(
    ("fields", "named", "says"),
    [
        ({"wav": b""}, "wav", "RIFF"),
        ({"wav": b"RIFF"}, "wav", "RIFF"),
        ({"wav": b"\xff" * (9 * 2**20)}, "wav", "RIFF"),
        ({"wav": write_wav(Sound(16_000, np.zeros(0, np.int16)))}, "wav", "holds no sound"),
        ({"wav": write_wav(Sound(16_000, np.zeros(1600, np.int16)))[:60]}, "wav", "truncated"),
        ({"wav": write_wav(Sound(8_000, np.zeros(8_000 * 61, np.int16)))}, "wav", "60"),
    ],
    ids=["empty", "cut in its header", "large and no WAV", "no samples", "cut in its samples", "61 seconds"],
)
async def test_sound_that_cannot_be_used_is_refused(mesh: Any, fields: dict[str, bytes], named: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as refused:
        await mesh.client.voice.Ask(pb.AskRequest(language="ko", **fields), timeout=60)
    assert refused.value.field == named
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("language", ["", "fr", "KO"])
async def test_a_language_without_replies_is_refused(mesh: Any, language: str) -> None:
    wav = write_wav(Sound(16_000, np.zeros(1600, np.int16)))
    with pytest.raises(InvalidInput, match="one of ko, en") as refused:
        await mesh.client.voice.Ask(pb.AskRequest(wav=wav, language=language), timeout=30)
    assert refused.value.field == "language"


async def test_what_is_no_wav_is_refused_before_anybody_is_asked(mesh: Any) -> None:
    with pytest.raises(InvalidInput, match="RIFF") as refused:
        await mesh.client.voice.Ask(pb.AskRequest(wav=b"\xff\xfb\x90mp3", language="ko"), timeout=30)
    assert refused.value.field == "wav"


async def test_the_engines_are_listed_with_their_languages(mesh: Any) -> None:
    listed = (await mesh.client.voice.ListEngines(pb.ListEnginesRequest(), timeout=30)).engines
    assert [(engine.name, list(engine.languages), engine.address) for engine in listed] == [
        ("pocketsphinx", ["ko", "en"], ""),
        ("espeak-ng", ["ko", "en"], ""),
    ]


def _wav(sound: Sound, bits: int, channels: int) -> bytes:
    width = bits // 8
    wide = sound.samples.astype(np.int64) << 16
    if bits == 8:
        body = ((sound.samples.astype(np.int32) >> 8) + 128).astype(np.uint8).tobytes()
    else:
        body = b"".join(int(sample).to_bytes(4, "little", signed=True)[4 - width :] for sample in wide)
    frames = b"".join(body[start : start + width] * channels for start in range(0, len(body), width))
    form = struct.pack("<HHIIHH", 1, channels, sound.rate, sound.rate * width * channels, width * channels, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(frames)) + frames
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
