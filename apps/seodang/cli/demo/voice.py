"""The voice errand: a spoken Korean command becomes a tool call and a spoken reply."""

import time
from pathlib import Path

from google.protobuf import json_format

from seodang.api.voice.v1 import voice_pb2
from seodang.cli.demo.errand import Errand
from seodang.client import AsyncClient


async def ask_voice(voice: AsyncClient, model: str, wav: Path, folder: Path) -> Errand:
    """Sends a WAV file, keeps the spoken reply as ``folder/reply.wav``."""
    began_s = time.monotonic()
    request = voice_pb2.AskRequest(wav=wav.read_bytes(), language="ko", model=model)
    answer = await voice.voice.Ask(request, timeout=60)
    reply = folder / "reply.wav"
    reply.write_bytes(answer.reply_wav)
    called = answer.HasField("tool_call")
    call = f"{answer.tool_call.name}({_arguments(answer.tool_call)})" if called else "no call"
    return Errand(
        adapter="voice",
        model=model,
        asked=f"{wav.name}, heard as “{answer.transcript.text}”",
        answered=f"{call} — “{answer.reply_text}”",
        worked=called,
        seconds=time.monotonic() - began_s,
        detail=f"spoken reply in {reply}",
    )


def _arguments(call: voice_pb2.ToolCall) -> str:
    return ", ".join(f"{key}={value}" for key, value in json_format.MessageToDict(call.arguments).items())
