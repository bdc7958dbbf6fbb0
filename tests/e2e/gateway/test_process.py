"""The gateway as its users start and stop it."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from openai import AsyncOpenAI
from tests.scripted.capture import ScriptedCapture
from tests.scripted.inference import ScriptedInference

from seodang.base.errors import Unavailable
from seodang.rpc import MeshServer


@contextmanager
def _gateway(**settings: str) -> Iterator[subprocess.Popen[str]]:
    env = {**os.environ, "SEODANG_GATEWAY_PORT": "0"}
    env |= {f"SEODANG_GATEWAY_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "seodang.gateway"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr
    for line in process.stderr:
        if match := re.search(r"serves on (http://\S+)/v1", line):
            return match[1]
    raise AssertionError(f"ended with {process.wait()} before it served")


def test_it_serves_without_its_servers_and_ends_well_on_sigterm() -> None:
    with _gateway(teacher_address="127.0.0.1:1", student_address="127.0.0.1:1") as process:
        url = _address(process)
        assert httpx.get(f"{url}/healthz").status_code == 200
        assert httpx.get(f"{url}/readyz", timeout=20).status_code == 503
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with _gateway(port=port) as process:
            _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "Traceback" not in said


def test_an_unknown_setting_is_refused() -> None:
    with _gateway(protocol="http") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "SEODANG_GATEWAY_PROTOCOL" in said


async def test_what_still_waits_to_be_kept_is_sent_before_it_ends() -> None:
    """The service that keeps exchanges comes to life only while the gateway drains."""
    student, capture = ScriptedInference(["models/assistant"]), ScriptedCapture(failing=Unavailable("starting"))
    async with MeshServer("student", [student.mount()]) as served, MeshServer("distill", [capture.mount()]) as keeping:
        await served.set_ready()
        await keeping.set_ready()
        addresses = {"student_address": served.address, "capture_address": keeping.address}
        with _gateway(teacher_address="127.0.0.1:1", **addresses) as process:
            url = await asyncio.to_thread(_address, process)
            async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as openai:
                asked: Any = [{"role": "user", "content": "안녕"}]
                for _ in range(3):
                    await openai.chat.completions.create(model="assistant", messages=asked, store=True)
            assert capture.interactions == []
            process.send_signal(signal.SIGTERM)
            capture.failing = None
            assert await asyncio.to_thread(process.wait, 20) == 0
            assert process.stderr
            assert "3 stored" in process.stderr.read()
    assert [kept.tenant for kept in capture.interactions] == ["local"] * 3
