"""``python -m seodang.teacher``: serves one teacher until SIGTERM or Ctrl-C."""

from seodang.base.process import run_process
from seodang.inference import InferenceLimits, InferenceServicer, serve_when_ready
from seodang.rpc import MeshServer
from seodang.teacher.service import Teacher
from seodang.teacher.settings import TeacherSettings
from seodang.worker import EngineHost


async def serve() -> None:
    """Starts the ranks, opens the port, loads the model, and serves."""
    settings = TeacherSettings.load()
    async with EngineHost.start(settings.host_settings()) as host:
        teacher = Teacher(host, settings.model, settings.folder, settings.load_options())
        servicer = InferenceServicer(host, teacher, InferenceLimits(unread_tokens=settings.unread_tokens))
        async with MeshServer("teacher", [servicer.mount()], settings.server_config()) as server:
            await serve_when_ready(server, host, teacher.load)


def main() -> None:
    """Entry point of the process."""
    run_process("teacher", serve())


if __name__ == "__main__":
    main()
