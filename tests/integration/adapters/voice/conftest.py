"""The built-in engines as real processes, and a voice service on a real port with a scripted student behind it."""

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from tests.scripted.inference import ScriptedInference, words
from tests.serving import wait_for

from seodang.adapters.voice.engines import Recogniser, Synthesiser
from seodang.adapters.voice.service import VoiceService
from seodang.adapters.voice.servicer import VoiceServicer
from seodang.adapters.voice.settings import VoiceSettings
from seodang.adapters.voice.sound import Sound
from seodang.api.voice.v1 import voice_pb2_grpc
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, Mount, ServerConfig

NOW = datetime(2026, 3, 2, 15, 5)
LIGHT_ON = '{"name":"HassTurnOn","arguments":{"area":"거실","domain":"light"}}'


@dataclass(frozen=True)
class Engines:
    """The Wyoming addresses of the built-in engines."""

    recogniser: str
    synthesiser: str


@contextmanager
def running(module: str, folder: Path) -> Iterator[str]:
    """A built-in engine as a process; yields its URI."""
    name = module.rpartition(".")[2]
    socket, log_path = folder / f"{name}.sock", folder / f"{name}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", module, "--uri", f"unix://{socket}"], stdout=log, stderr=log)
    try:

        def serves() -> bool:
            assert process.poll() is None, log_path.read_text()
            return socket.exists()

        wait_for(serves, f"the {name} to serve", timeout_s=110)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    # A socket's path must be short, so pytest's own folders will not do.
    with (
        tempfile.TemporaryDirectory(prefix="seodang-") as folder,
        ExitStack() as stack,
    ):
        names = ("seodang.adapters.voice.recogniser", "seodang.adapters.voice.synthesiser")
        yield Engines(*(stack.enter_context(running(name, Path(folder))) for name in names))


@dataclass(frozen=True)
class Mesh:
    """A client of the voice service, and the student behind it."""

    client: AsyncClient
    student: ScriptedInference
    service: VoiceService

    async def spoken(self, text: str, language: str) -> Sound:
        """What a person would say, by the built-in synthesiser."""
        return await self.service.synthesiser.speak(text, language)


@pytest.fixture
async def mesh(engines: Engines, tmp_path: Path) -> AsyncIterator[Mesh]:
    student = ScriptedInference(["models/assistant", "models/other"], answer=lambda request: words(LIGHT_ON))
    config = ServerConfig(grace_s=1)
    async with MeshServer("student", [student.mount()], config) as upstream:
        settings = VoiceSettings(state_dir=tmp_path, student_address=upstream.address)
        async with AsyncClient(upstream.address) as upstream_client:
            recogniser, synthesiser = Recogniser(engines.recogniser, 60), Synthesiser(engines.synthesiser, 60)
            service = VoiceService(recogniser, synthesiser, upstream_client, settings, now=lambda: NOW)
            add = voice_pb2_grpc.add_VoiceServiceServicer_to_server
            mount = Mount(VoiceServicer(service), add, "seodang.api.voice.v1.VoiceService")
            async with MeshServer("voice", [mount], config) as server, AsyncClient(server.address) as client:
                yield Mesh(client, student, service)
