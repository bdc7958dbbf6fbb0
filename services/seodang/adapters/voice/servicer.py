"""Translates between the contract and the voice service."""

from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from typing import Any

from google.protobuf import struct_pb2
from grpc import aio

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
from seodang.adapters.voice.engines import Engine
from seodang.adapters.voice.service import Asking, Decided, Heard, Timing, VoiceService, check_language
from seodang.adapters.voice.wav import MAX_RATE, MIN_RATE, read_wav, write_wav
from seodang.api.voice.v1 import voice_pb2, voice_pb2_grpc
from seodang.base.errors import InvalidInput, SeodangError
from seodang.rpc import to_fault
from seodang.tasks.assistant import ToolCall

Context = aio.ServicerContext[Any, Any]

_DEFAULT_SILENCE_MS = 600
_MIN_SILENCE_MS, _MAX_SILENCE_MS = 200, 5_000


class VoiceServicer(voice_pb2_grpc.VoiceServiceServicer):
    """The contract's VoiceService."""

    def __init__(self, service: VoiceService) -> None:
        self._service = service

    async def Ask(self, request: voice_pb2.AskRequest, context: Context) -> voice_pb2.AskResponse:
        """One utterance."""
        sound = read_wav(request.wav)
        shared_by = request.subject if request.store else None
        asking = Asking(request.language, request.model, request.request_id, shared_by)
        answer = await self._service.ask(sound, asking, text_only=request.text_only)
        return voice_pb2.AskResponse(
            transcript=_transcript(answer.heard),
            tool_call=_tool_call(answer.decided.call) if answer.decided.call else None,
            reply_text=answer.decided.reply,
            reply_wav=write_wav(answer.sound) if answer.sound else b"",
            timing=_timing(answer.timing),
        )

    async def Converse(
        self, request_iterator: AsyncIterator[voice_pb2.ConverseRequest], context: Context
    ) -> AsyncIterator[voice_pb2.ConverseResponse]:
        """A conversation. What fails before the first event is the call's status, what fails later a fault."""
        config = _config(await anext(request_iterator, None))
        accepted = False
        try:
            conversation = Conversation(self._service, config)
            async with aclosing(conversation.run(_incoming(request_iterator))) as events:
                async for event in events:
                    for response in _responses(event):
                        yield response
                        accepted = True
        except SeodangError as error:
            if not accepted:
                raise
            yield voice_pb2.ConverseResponse(fault=to_fault(error))

    async def ListEngines(
        self, request: voice_pb2.ListEnginesRequest, context: Context
    ) -> voice_pb2.ListEnginesResponse:
        """What hears and what speaks."""
        kinds = voice_pb2.ListEnginesResponse
        engines = (
            await _engine(self._service.recogniser, kinds.KIND_SPEECH_TO_TEXT),
            await _engine(self._service.synthesiser, kinds.KIND_TEXT_TO_SPEECH),
        )
        return voice_pb2.ListEnginesResponse(engines=engines)


async def _engine(engine: Engine, kind: voice_pb2.ListEnginesResponse.Kind.ValueType) -> Any:
    info = await engine.describe()
    return voice_pb2.ListEnginesResponse.Engine(
        name=info.name, kind=kind, languages=info.languages, address=engine.address
    )


def _config(request: voice_pb2.ConverseRequest | None) -> ConversationConfig:
    if request is None or not request.HasField("config"):
        raise InvalidInput("the first message of Converse must be `config`, and only that", field="config")
    config = request.config
    check_language(config.language)
    silence_ms = config.endpoint_silence_ms or _DEFAULT_SILENCE_MS
    if not _MIN_SILENCE_MS <= silence_ms <= _MAX_SILENCE_MS:
        raise InvalidInput(
            f"config.endpoint_silence_ms={silence_ms}: 0 or {_MIN_SILENCE_MS} to {_MAX_SILENCE_MS}",
            field="config.endpoint_silence_ms",
        )
    return ConversationConfig(
        input_rate=_rate(config.input, "config.input"),
        output_rate=_rate(config.output, "config.output"),
        asking=Asking(config.language, config.model, shared_by=config.subject if config.store else None),
        silence_ms=silence_ms,
    )


def _rate(form: voice_pb2.AudioFormat, field: str) -> int:
    if not MIN_RATE <= form.sample_rate <= MAX_RATE:
        raise InvalidInput(
            f"{field}.sample_rate={form.sample_rate}: {MIN_RATE} to {MAX_RATE} Hz", field=f"{field}.sample_rate"
        )
    return form.sample_rate


async def _incoming(requests: AsyncIterator[voice_pb2.ConverseRequest]) -> AsyncIterator[Incoming]:
    async for request in requests:
        kind = request.WhichOneof("event")
        if kind == "audio":
            yield request.audio
        elif kind == "end_utterance":
            yield EndUtterance()
        elif kind == "played_ms" and request.played_ms >= 0:
            yield Played(request.played_ms)
        else:
            raise InvalidInput(
                f"after `config` every message of Converse must be audio, end_utterance or played_ms (0 or more), "
                f"not {kind or 'empty'}",
                field=kind or "event",
            )


def _responses(event: Outgoing) -> Iterator[voice_pb2.ConverseResponse]:
    if isinstance(event, SpeechStarted):
        yield voice_pb2.ConverseResponse(speech_started=voice_pb2.ConverseResponse.SpeechStarted(at_ms=event.at_ms))
    elif isinstance(event, Heard):
        yield voice_pb2.ConverseResponse(transcript=_transcript(event))
    elif isinstance(event, Decided):
        if event.call:
            yield voice_pb2.ConverseResponse(tool_call=_tool_call(event.call))
        yield voice_pb2.ConverseResponse(reply_text=event.reply)
    elif isinstance(event, ReplySound):
        yield voice_pb2.ConverseResponse(reply_audio=event.pcm)
    elif isinstance(event, ReplyFinished):
        finished = voice_pb2.ConverseResponse.ReplyFinished(interrupted=event.interrupted, timing=_timing(event.timing))
        yield voice_pb2.ConverseResponse(reply_finished=finished)
    else:
        yield voice_pb2.ConverseResponse(fault=to_fault(event))


def _transcript(heard: Heard) -> voice_pb2.Transcript:
    return voice_pb2.Transcript(text=heard.text, language=heard.language, engine=heard.engine)


def _tool_call(call: ToolCall) -> voice_pb2.ToolCall:
    arguments = struct_pb2.Struct()
    arguments.update(dict(call.arguments))
    return voice_pb2.ToolCall(name=call.name, arguments=arguments)


def _timing(timing: Timing) -> voice_pb2.Timing:
    return voice_pb2.Timing(
        recognition_ms=timing.recognition_ms, decision_ms=timing.decision_ms, synthesis_ms=timing.synthesis_ms
    )
