"""The distillation server as a process of its own, the way an operator runs it."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from seodang.api.distill.v1 import distill_pb2
from seodang.base.errors import DeadlineExpired, Unavailable
from seodang.client import AsyncClient
from seodang.distill.settings import DistillSettings


class ServerProcess:
    """``python -m seodang.distill`` with the given settings; start, kill and start it again as often as needed."""

    def __init__(self, settings: DistillSettings, folder: Path) -> None:
        self._log = folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._env = _variables(settings.model_copy(update={"port": int(self.address.split(":")[1])}))
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it and waits until it answers."""
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "seodang.distill", env={**os.environ, **self._env}, stdout=log, stderr=log
            )
        deadline_s = time.monotonic() + 60
        async with AsyncClient(self.address) as client:
            while True:
                with suppress(Unavailable, DeadlineExpired):
                    await client.distillation.ListJobs(distill_pb2.ListJobsRequest(), timeout=5)
                    return
                assert self.process.returncode is None, self._log.read_text()
                assert time.monotonic() < deadline_s, self._log.read_text()
                await asyncio.sleep(0.05)

    async def end(self, number: signal.Signals) -> int:
        """Sends it a signal and waits for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), 30)


def _variables(settings: DistillSettings) -> dict[str, str]:
    fields = settings.model_dump(mode="json")
    return {
        f"SEODANG_DISTILL_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in fields.items()
    }


@asynccontextmanager
async def server_process(settings: DistillSettings, folder: Path) -> AsyncIterator[ServerProcess]:
    server = ServerProcess(settings, folder)
    try:
        await server.start()
        yield server
    finally:
        if server.process and server.process.returncode is None:
            server.process.kill()
            await server.process.wait()
