"""Run the robotics service: ``python -m seodang.adapters.robotics``."""

from seodang.adapters.robotics.service import RoboticsService
from seodang.adapters.robotics.servicer import RoboticsServicer
from seodang.adapters.robotics.settings import RoboticsSettings
from seodang.api.robotics.v1 import robotics_pb2, robotics_pb2_grpc
from seodang.base.process import run_process
from seodang.capture import keeping
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, Mount, ServerConfig

_SERVICE = robotics_pb2.DESCRIPTOR.services_by_name["RoboticsService"].full_name


async def serve() -> None:
    """Serves until it is told to stop."""
    settings = RoboticsSettings.load()
    config = ServerConfig(settings.host, settings.port, settings.grace_s)
    async with (
        AsyncClient(settings.student_address) as student,
        keeping(settings.capture_address, settings.capture_tenant) as keep,
    ):
        servicer = RoboticsServicer(RoboticsService(student, settings, keep))
        mount = Mount(servicer, robotics_pb2_grpc.add_RoboticsServiceServicer_to_server, _SERVICE)
        async with MeshServer("robotics", [mount], config) as server:
            await server.set_ready()
            await server.serve_until_signalled()


if __name__ == "__main__":
    run_process("robotics", serve())
