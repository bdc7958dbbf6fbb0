"""The bundled teacher in a process of its own, for benchmarks that need one."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from seodang.api.inference.v1 import chat_pb2, inference_pb2
from seodang.base.children import tethered
from seodang.base.errors import SeodangError
from seodang.client import Client

MODEL = "models/teacher-mini"
START_LIMIT_S = 120.0


@contextmanager
def own_teacher(model: str = MODEL, **settings: object) -> Iterator[str]:
    """The address of a teacher with settings, such as ``threads=1``; its process ends with the block."""
    settings["model"] = model
    given = {f"SEODANG_TEACHER_{name.upper()}": str(value) for name, value in ({"port": 0} | settings).items()}
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        process = subprocess.Popen(
            tethered([sys.executable, "-m", "seodang.teacher"]), env={**os.environ, **given}, stdout=log, stderr=log
        )
        try:
            yield _address(process, Path(log.name), model)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path, model: str) -> str:
    """As soon as it answers."""
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        found = re.search(r"serves on (\S+:\d+)", log.read_text())
        if found is not None and _answers(found[1], model):
            return found[1]
        time.sleep(0.1)
    sys.exit(f"benchmarks.teacher: the teacher did not come up within {START_LIMIT_S:g} s:\n{log.read_text()}")


def _answers(address: str, model: str) -> bool:
    request = inference_pb2.CountTokensRequest(model=model, prompt=chat_pb2.Prompt(text="?"))
    with Client(address) as client:
        try:
            client.inference.CountTokens(request)
        except SeodangError:
            return False
    return True
