"""The contract from another language: a Node program that knows the .proto files and nothing of our Python."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.serving import Serving

from seodang.api.inference.v1 import generate_pb2
from seodang.client import Client, chat, complete

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "node"
PROMPT = "선생님이 학생을 가르친다"
# The environment brings Node as a Python package; one of the system will do as well.
PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _missing() -> str:
    """What of Node is not there, or nothing."""
    for program, package in (("node", "nodejs"), ("npm", "npm")):
        if not shutil.which(program, path=PATH):
            return f"no program '{program}': run 'make env', which brings it, or 'apt-get install {package}'"
    version = _run("node", "--version").stdout.strip()
    if int(version.lstrip("v").partition(".")[0]) < 18:
        return f"'node' is {version}, and the gRPC package needs 18 or newer: run 'make env', which brings one"
    return ""


def _run(program: str, *arguments: str | Path, timeout_s: float = 90) -> "subprocess.CompletedProcess[str]":
    found = shutil.which(program, path=PATH)
    assert found, f"no program '{program}'"
    env = {**os.environ, "PATH": PATH}
    return subprocess.run([found, *arguments], env=env, capture_output=True, text=True, timeout=timeout_s, check=False)


pytestmark = pytest.mark.skipif(bool(missing := _missing()), reason=missing)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example with its packages, as its lock file names them; npm keeps them in its own cache."""
    root = tmp_path_factory.mktemp("partner")
    (root / "protos").symlink_to(REPOSITORY / "protos")
    example = root / "examples" / "node"
    example.mkdir(parents=True)
    for name in ("generate.js", "package.json", "package-lock.json", ".npmrc"):
        shutil.copy(EXAMPLE / name, example)
    flags = ("--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts")
    done = _run("npm", "ci", *flags, "--prefix", example, timeout_s=180)
    assert done.returncode == 0, done.stderr
    return example / "generate.js"


def _events(done: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_it_streams_the_tokens_that_python_gets(teacher: Serving, program: Path) -> None:
    done = _run("node", program, teacher.address, "models/tiny", PROMPT, "8")
    assert done.returncode == 0, done.stderr
    first, *deltas, last = _events(done)
    request = generate_pb2.GenerateRequest(
        model="models/tiny",
        prompt=chat([("user", PROMPT)]),
        sampling=generate_pb2.Sampling(temperature=0),
        max_new_tokens=8,
    )
    with Client(teacher.address) as client:
        expected = complete(client, request)
    assert (first["event"], last["event"], last["reason"]) == ("accepted", "finished", "FINISH_REASON_LENGTH")
    assert "".join(delta.get("text", "") for delta in deltas) == expected.text
    assert last["usage"]["completionTokens"] == 8


def test_it_is_told_what_is_wrong(teacher: Serving, program: Path) -> None:
    done = _run("node", program, teacher.address, "models/nobody", PROMPT)
    assert done.returncode == 1
    assert done.stderr.startswith("NOT_FOUND: ")
    assert "models/nobody" in done.stderr
