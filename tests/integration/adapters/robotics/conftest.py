"""A robotics service on a real port, with a scripted student behind a real server, and rooms to drive in."""

import contextlib
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import minigrid  # noqa: F401  (registers the rooms)
import numpy as np
import pytest
from tests.scripted.inference import ScriptedInference

from seodang.adapters.robotics.service import RoboticsService
from seodang.adapters.robotics.servicer import RoboticsServicer
from seodang.adapters.robotics.settings import RoboticsSettings
from seodang.api.robotics.v1 import robotics_pb2 as pb
from seodang.api.robotics.v1 import robotics_pb2_grpc
from seodang.api.types.v1 import tensor_pb2
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, Mount, ServerConfig


@dataclass
class Robot:
    """One side of a Drive: it sends observations and reads what comes back."""

    call: Any
    sequence: int = 0
    executed: pb.Action.ValueType = pb.ACTION_UNSPECIFIED
    commands: list[pb.Command] = field(default_factory=list)

    async def start(self, session: str = "s1", mission: str = "go to the red ball", **fields: Any) -> None:
        """The first message."""
        await self.call.write(pb.DriveRequest(start=pb.Start(session=session, mission=mission, **fields)))

    async def see(self, seen: np.ndarray, **fields: Any) -> pb.DriveResponse:
        """Sends one view and reads the answer; a command counts as carried out."""
        await self.send(seen, **fields)
        response = await self.read()
        if response.HasField("command"):
            self.executed = response.command.action
            self.commands.append(response.command)
        return response

    async def send(self, seen: np.ndarray, **fields: Any) -> None:
        """Sends one view."""
        tensor = tensor_pb2.Tensor(dtype=tensor_pb2.D_TYPE_UINT8, shape=list(seen.shape), data=seen.tobytes())
        made = {"sequence": self.sequence, "view": tensor, "executed": self.executed} | fields
        self.sequence += 1
        await self.call.write(pb.DriveRequest(observation=pb.Observation(**made)))

    async def read(self) -> pb.DriveResponse:
        """The next answer."""
        response = await self.call.read()
        assert isinstance(response, pb.DriveResponse), "the stream ended"
        return response


@dataclass(frozen=True)
class Mesh:
    """A client of the robotics service, and the student behind it."""

    client: AsyncClient
    student: ScriptedInference
    settings: RoboticsSettings

    def robot(self, timeout_s: float = 30.0) -> Robot:
        """A new robot on a stream of its own."""
        return Robot(self.client.robotics.Drive(timeout=timeout_s))

    def log(self, session: str = "s1") -> str:
        """The decision log of a session."""
        return (self.settings.state_dir / "log" / f"{session}.jsonl").read_text()


StartMesh = Callable[..., contextlib.AbstractAsyncContextManager[Mesh]]


@pytest.fixture
def start_mesh(tmp_path: Path) -> StartMesh:
    """Starts a mesh with settings of its own; state stays in one folder over restarts."""

    @contextlib.asynccontextmanager
    async def start(**changes: Any) -> AsyncIterator[Mesh]:
        student = ScriptedInference(["models/robot", "models/other"])
        config = ServerConfig(grace_s=1)
        async with MeshServer("student", [student.mount()], config) as upstream:
            fields = {"state_dir": tmp_path / "robotics", "student_address": upstream.address, "max_actions_per_s": 1e4}
            settings = RoboticsSettings(**fields | changes)
            async with AsyncClient(upstream.address) as upstream_client:
                servicer = RoboticsServicer(RoboticsService(upstream_client, settings))
                add = robotics_pb2_grpc.add_RoboticsServiceServicer_to_server
                mount = Mount(servicer, add, "seodang.api.robotics.v1.RoboticsService")
                async with MeshServer("robotics", [mount], config) as server, AsyncClient(server.address) as client:
                    yield Mesh(client, student, settings)

    return start


@pytest.fixture
async def mesh(start_mesh: StartMesh) -> AsyncIterator[Mesh]:
    async with start_mesh() as started:
        yield started


@pytest.fixture
def free_room() -> np.ndarray:
    """A view of nothing but empty floor."""
    return np.tile(np.array((1, 0, 0), np.uint8), (7, 7, 1))


@pytest.fixture
def make_room() -> Callable[[str, int], tuple[Any, dict[str, Any]]]:
    """A minigrid room by its name and seed, and the first thing seen in it."""

    def make(name: str, seed: int) -> tuple[Any, dict[str, Any]]:
        with contextlib.redirect_stdout(io.StringIO()):  # minigrid prints when it rejects a sampled room
            env = gymnasium.make(name)
            seen, _ = env.reset(seed=seed)
        return env, seen

    return make
