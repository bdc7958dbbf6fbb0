"""``python -m seodang.student``: serves every student it is told to, until SIGTERM or Ctrl-C."""

from functools import partial

from seodang.base.process import run_process
from seodang.client import AsyncClient
from seodang.inference import InferenceLimits, InferenceServicer, serve_when_ready
from seodang.rpc import MeshServer
from seodang.student.directory import Students
from seodang.student.folders import ModelRoots
from seodang.student.registry import Registry
from seodang.student.service import Placement
from seodang.student.servicer import PlacementServicer
from seodang.student.settings import StudentSettings
from seodang.student.versions import VersionFolders
from seodang.worker import EngineHost


async def serve() -> None:
    """Starts the engine, opens the port, loads the students of the model roots, and serves."""
    settings = StudentSettings.load()
    roots = ModelRoots(settings.model_roots)
    async with EngineHost.start(settings.host_settings()) as host, AsyncClient(settings.registry_address) as client:
        registry = Registry(client, VersionFolders(settings.state_dir), settings.alias_ttl_s)
        options, external = settings.load_options(), settings.external_servers()
        async with Placement(host, options, settings.memory_bytes, registry.fetch, external) as placement:
            students = Students(placement, registry, settings.dtype)
            inference = InferenceServicer(host, students, InferenceLimits(unread_tokens=settings.unread_tokens))
            placing = PlacementServicer(host, placement, roots, settings.dtype)
            async with MeshServer("student", [inference.mount(), placing.mount()], settings.server_config()) as server:
                await serve_when_ready(server, host, partial(students.load_all, roots))


def main() -> None:
    """Entry point of the process."""
    run_process("student", serve())


if __name__ == "__main__":
    main()
