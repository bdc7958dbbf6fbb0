"""Real server processes for tests, on free ports, and ways to wait for what they do."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from grpc_health.v1 import health_pb2

from seodang.base.errors import SeodangError
from seodang.client import Client

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Serving:
    """A server process that has opened its port."""

    name: str
    process: subprocess.Popen[bytes]
    address: str
    log_path: Path

    def log(self) -> str:
        """What it has written so far."""
        return self.log_path.read_text()

    def rank_pids(self) -> list[int]:
        """Its engine processes."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def is_ready(self) -> bool:
        """What its health service says."""
        with Client(self.address) as client:
            try:
                answer = client.health.Check(health_pb2.HealthCheckRequest(), timeout=5)
            except SeodangError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@contextmanager
def start_server(name: str, log_dir: Path, *, ready: bool = True, **settings: object) -> Iterator[Serving]:
    """Runs ``python -m seodang.NAME`` with settings, such as ``max_batch=2``; asks it to stop at the end."""
    log_dir.mkdir(parents=True, exist_ok=True)
    log_path = log_dir / f"{name}.log"
    prefix = f"SEODANG_{name.upper()}_"
    env = {f"{prefix}{key.upper()}": str(value) for key, value in ({"port": 0, "threads": 1} | settings).items()}
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", f"seodang.{name}"], env={**os.environ, **env}, stdout=log, stderr=log
        )
    try:
        address = wait_for(lambda: _address(process, log_path), f"{name} to open its port", timeout_s=180)
        serving = Serving(name, process, address, log_path)
        if ready:
            wait_for(serving.is_ready, f"{name} to be ready", timeout_s=180)
        yield serving
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(look: Callable[[], ResultT], what: str, *, timeout_s: float = 60.0) -> ResultT:
    """Looks until it sees something, and returns that."""
    end = time.monotonic() + timeout_s
    while not (seen := look()):
        assert time.monotonic() < end, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.02)
    return seen


def _address(process: subprocess.Popen[bytes], log_path: Path) -> str:
    written = log_path.read_text()
    assert process.poll() is None, f"the server ended with status {process.returncode}:\n{written}"
    found = re.search(r"serves on (\S+:\d+)", written)
    return found[1] if found else ""
