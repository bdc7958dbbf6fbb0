"""One of every server of the mesh that speaks gRPC, each without what stands behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.scripted.inference import ScriptedInference

from seodang.adapters.messaging.server import running_server as running_messaging
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.adapters.robotics.service import RoboticsService
from seodang.adapters.robotics.servicer import RoboticsServicer
from seodang.adapters.robotics.settings import RoboticsSettings
from seodang.adapters.search.service import SearchService
from seodang.adapters.search.servicer import SearchServicer
from seodang.adapters.search.settings import SearchSettings
from seodang.adapters.voice.engines import Recogniser, Synthesiser
from seodang.adapters.voice.service import VoiceService
from seodang.adapters.voice.servicer import VoiceServicer
from seodang.adapters.voice.settings import VoiceSettings
from seodang.api.robotics.v1 import robotics_pb2_grpc
from seodang.api.search.v1 import search_pb2_grpc
from seodang.api.voice.v1 import voice_pb2_grpc
from seodang.client import AsyncClient
from seodang.distill.server import running_server as running_distill
from seodang.distill.settings import DistillSettings
from seodang.rpc import MeshServer, Mount, ServerConfig

NOBODY = "tcp://127.0.0.1:9"


@asynccontextmanager
async def running_mesh(folder: Path) -> AsyncIterator[dict[str, str]]:
    """The address of a server by the package of a service; nobody serves capture yet, so its calls go astray."""
    config = ServerConfig(grace_s=1)
    async with (
        MeshServer("student", [ScriptedInference(["models/any"]).mount()], config) as upstream,
        AsyncClient(upstream.address) as student,
        MeshServer("adapters", _adapters(student, upstream.address, folder), config) as adapters,
        running_messaging(
            MessagingSettings(port=0, state_dir=folder / "messaging", student_address=upstream.address, grace_s=1)
        ) as messaging,
        running_distill(
            DistillSettings(port=0, state_dir=folder / "distill", teacher_address=upstream.address, grace_s=1)
        ) as distill,
    ):
        yield {
            "voice": adapters.address,
            "search": adapters.address,
            "robotics": adapters.address,
            "messaging": messaging.address,
            "capture": messaging.address,
            "distill": distill.address,
            "registry": distill.address,
        }


def _adapters(student: AsyncClient, address: str, folder: Path) -> list[Mount]:
    search = SearchService(student, SearchSettings(state_dir=folder / "search", student_address=address))
    robotics = RoboticsService(student, RoboticsSettings(state_dir=folder / "robotics", student_address=address))
    settings = VoiceSettings(state_dir=folder / "voice", student_address=address)
    voice = VoiceService(Recogniser(NOBODY, 1), Synthesiser(NOBODY, 1), student, settings)
    return [
        Mount(SearchServicer(search), search_pb2_grpc.add_SearchServiceServicer_to_server, _name("search.v1.Search")),
        Mount(
            RoboticsServicer(robotics),
            robotics_pb2_grpc.add_RoboticsServiceServicer_to_server,
            _name("robotics.v1.Robotics"),
        ),
        Mount(VoiceServicer(voice), voice_pb2_grpc.add_VoiceServiceServicer_to_server, _name("voice.v1.Voice")),
    ]


def _name(short: str) -> str:
    return f"seodang.api.{short}Service"
