"""Conversations over the wire, with speech that the built-in engines make and hear."""

import asyncio
from typing import Any

import pytest
from tests.integration.adapters.voice.speaker import Speaker, kinds
from tests.scripted.inference import words

from seodang.adapters.voice.endpointing import has_speech
from seodang.adapters.voice.sound import Sound
from seodang.api.voice.v1 import voice_pb2 as pb
from seodang.base.errors import InvalidInput, Unavailable


def speaker(mesh: Any) -> Speaker:
    return Speaker(mesh.client.voice.Converse(timeout=110))


async def test_an_utterance_is_cut_out_by_silence_and_answered(mesh: Any) -> None:
    side = speaker(mesh)
    await side.configure()
    await side.pause(0.5)
    await side.say(await mesh.spoken("거실 불 켜줘", "ko"))
    await side.pause(0.8)
    events = await side.until("reply_finished")
    assert kinds(events) == ["speech_started", "transcript", "tool_call", "reply_text", "reply_audio", "reply_finished"]
    assert 250 <= events[0].speech_started.at_ms <= 900
    assert events[1].transcript.text == "거실 불 켜줘"
    assert events[2].tool_call.name == "HassTurnOn"
    assert not events[-1].reply_finished.interrupted
    reply = Sound.from_pcm(16_000, b"".join(event.reply_audio for event in events))
    assert 0.8 < reply.seconds < 4
    assert has_speech(reply)


async def test_the_speaker_may_say_when_the_utterance_is_over(mesh: Any) -> None:
    side = speaker(mesh)
    await side.configure()
    await side.say(await mesh.spoken("지금 몇 시야", "ko"))
    await side.call.write(pb.ConverseRequest(end_utterance=pb.ConverseRequest.EndUtterance()))
    events = await side.until("reply_finished")
    assert next(event.transcript.text for event in events if event.HasField("transcript")) == "지금 몇 시야"


async def test_closing_the_stream_ends_the_utterance_and_then_the_conversation(mesh: Any) -> None:
    side = speaker(mesh)
    await side.configure()
    await side.say(await mesh.spoken("거실 불 켜줘", "ko"))
    await side.call.done_writing()
    await side.until("reply_finished")
    assert not isinstance(await side.call.read(), pb.ConverseResponse)


async def test_speech_interrupts_a_reply_and_nothing_of_it_follows(mesh: Any) -> None:
    mesh.service.settings = mesh.service.settings.model_copy(update={"reply_lead_ms": 300})
    side = speaker(mesh)
    await side.configure()
    command = await mesh.spoken("거실 불 켜줘", "ko")
    await side.say(command)
    await side.pause(0.8)
    await side.until("reply_audio")
    await side.say(command)
    before = await side.until("speech_started")
    assert set(kinds(before)) <= {"reply_audio", "speech_started"}
    after = (await side.until("reply_finished"))[-1]
    assert after.reply_finished.interrupted
    await side.pause(0.8)
    second = await side.until("reply_finished")
    assert kinds(second) == ["transcript", "tool_call", "reply_text", "reply_audio", "reply_finished"]
    assert not second[-1].reply_finished.interrupted


async def test_speech_while_the_student_thinks_cancels_the_question(mesh: Any) -> None:
    mesh.student.pace.hold()
    side = speaker(mesh)
    await side.configure()
    command = await mesh.spoken("거실 불 켜줘", "ko")
    await side.say(command)
    await side.pause(0.8)
    await side.until("transcript")
    while not mesh.student.running:
        await asyncio.sleep(0.01)
    await side.say(command)
    events = await side.until("reply_finished")
    assert kinds(events) == ["speech_started", "reply_finished"]
    while mesh.student.running:
        await asyncio.sleep(0.01)
    assert mesh.student.cancelled == 1


async def test_a_turn_that_fails_is_a_fault_and_the_conversation_goes_on(mesh: Any) -> None:
    mesh.student.refusal = Unavailable("the student is loading")
    side = speaker(mesh)
    await side.configure()
    command = await mesh.spoken("거실 불 켜줘", "ko")
    await side.say(command)
    await side.pause(0.8)
    fault = (await side.until("fault"))[-1].fault
    assert (fault.reason, fault.message) == ("UNAVAILABLE", "the student is loading")
    mesh.student.refusal = None
    await side.say(command)
    await side.pause(0.8)
    assert (await side.until("tool_call"))[-1].tool_call.name == "HassTurnOn"


async def test_an_utterance_without_sound_is_a_fault_and_the_conversation_goes_on(mesh: Any) -> None:
    side = speaker(mesh)
    await side.configure()
    await side.call.write(pb.ConverseRequest(end_utterance=pb.ConverseRequest.EndUtterance()))
    assert "no audio" in (await side.until("fault"))[-1].fault.message
    await side.say(await mesh.spoken("거실 불 켜줘", "ko"))
    await side.pause(0.8)
    await side.until("tool_call")


async def test_a_long_reply_is_sent_no_further_ahead_than_it_is_played(mesh: Any) -> None:
    lead_ms = 400
    mesh.service.settings = mesh.service.settings.model_copy(update={"reply_lead_ms": lead_ms})
    mesh.student.answer = lambda request: words("no call")
    side = speaker(mesh)
    await side.configure()
    await side.say(await mesh.spoken("거실 불 켜줘", "ko"))
    await side.pause(0.8)
    await side.until("reply_text")
    loop = asyncio.get_running_loop()
    began_s, sent_ms = loop.time(), 0.0
    for event in await side.until("reply_finished"):
        sent_ms += len(event.reply_audio) / 32
    took_ms = 1000 * (loop.time() - began_s)
    assert sent_ms > 2 * lead_ms
    assert took_ms >= sent_ms - lead_ms - 200


async def test_a_report_that_all_was_played_lets_the_rest_of_the_reply_go(mesh: Any) -> None:
    mesh.service.settings = mesh.service.settings.model_copy(update={"reply_lead_ms": 100})
    mesh.student.answer = lambda request: words("no call")
    side = speaker(mesh)
    await side.configure()
    await side.say(await mesh.spoken("거실 불 켜줘", "ko"))
    await side.pause(0.8)
    await side.until("reply_audio")
    await side.call.write(pb.ConverseRequest(played_ms=60_000))
    began_s = asyncio.get_running_loop().time()
    rest = await side.until("reply_finished")
    rest_s = sum(len(event.reply_audio) for event in rest) / 32_000
    assert asyncio.get_running_loop().time() - began_s < max(1.5, rest_s)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"language": "fr"}, "one of ko, en"),
        ({"input": pb.AudioFormat(sample_rate=4000)}, "config.input.sample_rate=4000"),
        ({"output": pb.AudioFormat()}, "config.output.sample_rate=0"),
        ({"endpoint_silence_ms": 5}, "endpoint_silence_ms=5"),
    ],
)
async def test_a_config_that_can_never_be_right_is_refused(mesh: Any, fields: dict[str, Any], said: str) -> None:
    side = speaker(mesh)
    await side.configure(**fields)
    with pytest.raises(InvalidInput, match=said):
        await side.call.read()


async def test_the_first_message_must_be_config(mesh: Any) -> None:
    side = speaker(mesh)
    await side.call.write(pb.ConverseRequest(audio=bytes(320)))
    with pytest.raises(InvalidInput, match="`config`"):
        await side.call.read()


async def test_an_empty_message_is_refused(mesh: Any) -> None:
    side = speaker(mesh)
    await side.configure()
    await side.call.write(pb.ConverseRequest())
    with pytest.raises(InvalidInput, match="not empty"):
        await side.call.read()
