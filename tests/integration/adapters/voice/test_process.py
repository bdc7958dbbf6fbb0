"""The service as a process with its engines, and the example against it."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.scripted.inference import ScriptedInference, words

from seodang.adapters.voice.endpointing import has_speech
from seodang.adapters.voice.wav import read_wav
from seodang.api.voice.v1 import voice_pb2 as pb
from seodang.client import AsyncClient
from seodang.rpc import MeshServer

ROOT = Path(__file__).resolve().parents[4]
SOUNDS = ROOT / "examples" / "demo"


@asynccontextmanager
async def running(student_address: str, state: Path, **settings: str) -> AsyncIterator[tuple[Any, str]]:
    """The voice process and its address."""
    settings = {"port": "0", "state_dir": str(state), "student_address": student_address} | settings
    env = {f"SEODANG_VOICE_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "seodang.adapters.voice", env=os.environ | env, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    said = ""
    try:
        while line := (await process.stderr.readline()).decode():
            said += line
            if found := re.search(r"voice serves on (\S+)", line):
                yield process, found[1]
                return
        raise AssertionError(f"the process ended before it served: {said}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


CALL = '{"name":"HassTurnOn","arguments":{"domain":"light"}}'
SAID = {
    "ko": ("heard:   거실 불 켜줘\n", "reply:   불을 켤게요.\n"),
    "en": ("heard:   turn on the living room lights\n", "reply:   I'll turn on the lights.\n"),
}


async def test_the_example_asks_by_voice_in_both_languages(tmp_path: Path) -> None:
    student = ScriptedInference(["models/assistant"], answer=lambda request: words(CALL))
    async with MeshServer("student", [student.mount()]) as up, running(up.address, tmp_path) as (process, address):
        for language, lines in SAID.items():
            said = await _example(language, "--address", address, "--reply", str(tmp_path / "reply.wav"))
            assert all(line in said for line in (*lines, "call:    HassTurnOn {'domain': 'light'}")), said
            assert has_speech(read_wav((tmp_path / "reply.wav").read_bytes()))
        engines = _children(process.pid)
        assert len(engines) == 2
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in engines)


async def _example(language: str, *arguments: str) -> str:
    """What examples/ask_by_voice.py prints about the command in examples/demo."""
    wav = SOUNDS / f"living_room_light_{language}.wav"
    example = await asyncio.create_subprocess_exec(
        *(sys.executable, str(ROOT / "examples" / "ask_by_voice.py"), str(wav), "--language", language, *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return (await example.communicate())[0].decode()


async def test_engines_of_its_own_are_not_started_where_addresses_are_given(tmp_path: Path) -> None:
    addresses = {"stt_address": "127.0.0.1:9", "tts_address": "127.0.0.1:9"}
    async with running("127.0.0.1:9", tmp_path, **addresses) as (process, address), AsyncClient(address) as client:
        assert _children(process.pid) == []
        with pytest.raises(Exception, match=r"no speech recogniser answers at tcp://127\.0\.0\.1:9"):
            await client.voice.ListEngines(pb.ListEnginesRequest(), timeout=30)


async def test_a_bad_home_file_ends_the_process_with_the_fault(tmp_path: Path) -> None:
    home = tmp_path / "home.json"
    home.write_text('{"ko": {"areas": ["Living Room"]}}')
    with pytest.raises(AssertionError, match=r"living.* is not written in Hangul"):
        async with running("127.0.0.1:9", tmp_path, home=str(home)):
            pass


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
