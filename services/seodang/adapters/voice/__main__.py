"""Run the voice service: ``python -m seodang.adapters.voice``."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from seodang.adapters.voice.companion import companion
from seodang.adapters.voice.engines import Recogniser, Synthesiser
from seodang.adapters.voice.service import VoiceService
from seodang.adapters.voice.servicer import VoiceServicer
from seodang.adapters.voice.settings import VoiceSettings
from seodang.api.voice.v1 import voice_pb2, voice_pb2_grpc
from seodang.base.process import run_process
from seodang.capture import keeping
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, Mount, ServerConfig

_SERVICE = voice_pb2.DESCRIPTOR.services_by_name["VoiceService"].full_name
_RECOGNISER = "seodang.adapters.voice.recogniser"
_SYNTHESISER = "seodang.adapters.voice.synthesiser"


async def serve() -> None:
    """Serves until it is told to stop."""
    settings = VoiceSettings.load()
    config = ServerConfig(settings.host, settings.port, settings.grace_s)
    home = ("--home", str(settings.home)) if settings.home else ()
    with tempfile.TemporaryDirectory(prefix="seodang-voice-") as folder:
        sockets, timeout_s = Path(folder), settings.engine_timeout_s
        async with (
            AsyncClient(settings.student_address) as student,
            keeping(settings.capture_address, settings.capture_tenant) as keep,
            _engine(settings.stt_address, _RECOGNISER, home, sockets, settings.state_dir) as hearing,
            _engine(settings.tts_address, _SYNTHESISER, (), sockets, settings.state_dir) as speaking,
        ):
            recogniser = Recogniser(hearing, timeout_s, settings.stt_address)
            synthesiser = Synthesiser(speaking, timeout_s, settings.tts_address)
            servicer = VoiceServicer(VoiceService(recogniser, synthesiser, student, settings, keep=keep))
            mount = Mount(servicer, voice_pb2_grpc.add_VoiceServiceServicer_to_server, _SERVICE)
            async with MeshServer("voice", [mount], config) as server:
                await server.set_ready()
                await server.serve_until_signalled()


@asynccontextmanager
async def _engine(
    address: str, module: str, arguments: tuple[str, ...], sockets: Path, logs: Path
) -> AsyncIterator[str]:
    """The URI of the engine at ``address``, or of the built-in one, which runs as long as the context does."""
    if address:
        yield f"tcp://{address}"
        return
    async with companion(module, arguments, sockets, logs) as uri:
        yield uri


if __name__ == "__main__":
    run_process("voice", serve())
