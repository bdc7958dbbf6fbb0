"""The service as a process, and the example that drives a room against it."""

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
from tests.scripted.inference import Script, ScriptedInference, words

from seodang.rpc import MeshServer

ROOT = Path(__file__).resolve().parents[4]


@asynccontextmanager
async def running(student_address: str, state: Path, **settings: str) -> AsyncIterator[tuple[Any, str]]:
    """The robotics process and its address."""
    env = {f"SEODANG_ROBOTICS_{name.upper()}": value for name, value in settings.items()}
    env |= {"SEODANG_ROBOTICS_PORT": "0", "SEODANG_ROBOTICS_STATE_DIR": str(state)}
    env |= {"SEODANG_ROBOTICS_STUDENT_ADDRESS": student_address}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "seodang.adapters.robotics", env=os.environ | env, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr
    try:
        while line := (await process.stderr.readline()).decode():
            if found := re.search(r"serves on (\S+)", line):
                yield process, found[1]
                return
        raise AssertionError("the process ended before it served")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def steer(request: Any) -> Script:
    """Drives to the mission's object by what the prompt says alone: a stand-in for a trained student."""
    scene, mission = request.prompt.chat.messages[-1].content.split("\n")
    parts = scene.split("; ")
    free = next(part.removeprefix("free ") for part in parts if part.startswith("free "))
    things = [part for part in parts[0].split(", ") if not part.startswith(("free ", "unseen "))]
    wanted = mission.removeprefix("go to the ").removeprefix("go to a ")
    target = next((thing for thing in things if thing.startswith(wanted)), "")
    offset = target.removeprefix(wanted).split("@")[0].split()
    ahead = next((int(step[1:]) for step in offset if step[0] == "f"), 0)
    if ahead and "f" in free:
        return words("forward")
    if any(step[0] == "l" for step in offset):
        return words("left")
    return words("right")


async def test_the_example_drives_a_room_to_its_end(tmp_path: Path) -> None:
    student = ScriptedInference(["models/robot"], answer=steer)
    async with MeshServer("student", [student.mount()]) as up, running(up.address, tmp_path) as (process, address):
        example = await asyncio.create_subprocess_exec(
            sys.executable,
            str(ROOT / "examples" / "drive_robot.py"),
            *("--address", address, "--level", "GoToRedBallNoDists", "--seed", "1"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await example.communicate())[0].decode()
        assert said.startswith("mission: go to the red ball\n"), said
        assert said.endswith("mission accomplished\n"), said
        assert "OUTCOME_MISSION_OVER" in said
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0


async def test_a_damaged_stop_file_keeps_the_process_from_serving(tmp_path: Path) -> None:
    (tmp_path / "stops.json").write_text("{")
    with pytest.raises(AssertionError, match="ended before it served"):
        async with running("127.0.0.1:9", tmp_path) as _:
            pass
