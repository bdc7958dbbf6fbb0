"""A student server of its own for these tests: they load, replace and evict models."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.integration.student.stand_in_registry import StandInRegistry, serve_registry
from tests.serving import Serving, start_server, wait_for

from seodang.api.inference.v1 import inference_pb2, model_pb2
from seodang.api.serving.v1 import placement_pb2
from seodang.client import Client

CACHE_BYTES = 4 * 2**20
ROOM_FOR = 3
"""Models of some five megabytes, weights and cache together."""


@pytest.fixture(scope="session")
def registry() -> Iterator[StandInRegistry]:
    with serve_registry() as registry:
        yield registry


@dataclass(frozen=True)
class Place:
    """The server, its folders, and a client."""

    serving: Serving
    root: Path
    state_dir: Path
    client: Client

    def load(self, name: str, **fields: object) -> list[placement_pb2.LoadModelResponse]:
        """Every event of a load; by default from the folder ``llama``."""
        source = {} if "version" in fields or "folder" in fields else {"folder": "llama"}
        request = placement_pb2.LoadModelRequest(name=name, **source, **fields)
        return list(self.client.placement.LoadModel(request, timeout=120))

    def ready(self, name: str, **fields: object) -> placement_pb2.ResidentModel:
        """A model after its load."""
        events = self.load(name, **fields)
        assert all(event.HasField("progress") for event in events[:-1])
        assert events[-1].HasField("ready"), events[-1]
        return events[-1].ready

    def unload(self, name: str, *, force: bool = False) -> int:
        """Bytes freed."""
        request = placement_pb2.UnloadModelRequest(name=name, force=force)
        return int(self.client.placement.UnloadModel(request, timeout=120).freed_bytes)

    def pin(self, name: str, pinned: bool) -> placement_pb2.ResidentModel:
        """The model as it stands then."""
        return self.client.placement.PinModel(placement_pb2.PinModelRequest(name=name, pinned=pinned)).model

    def residents(self) -> dict[str, placement_pb2.ResidentModel]:
        """What is in memory, by name."""
        listed = self.client.placement.ListResidentModels(placement_pb2.ListResidentModelsRequest()).models
        return {resident.model.name: resident for resident in listed}

    def state(self, name: str) -> model_pb2.ModelState.ValueType:
        """What the server says of a model."""
        return self.client.inference.GetModel(inference_pb2.GetModelRequest(name=name)).model.state


@pytest.fixture(scope="session")
def student_of_its_own(
    checkpoints: Path, registry: StandInRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Serving, Path, Path]]:
    base = tmp_path_factory.mktemp("placement")
    root = base / "roots"
    shutil.copytree(checkpoints, root)
    broken = root / "broken"
    shutil.copytree(root / "llama", broken)
    weights = next(broken.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-100])
    (base / "outside").mkdir()
    shutil.copytree(root / "llama", base / "outside" / "llama")
    (root / "link").symlink_to(base / "outside" / "llama")
    with start_server(
        "student",
        base / "log",
        model_roots=root,
        state_dir=base / "state",
        registry_address=registry.address,
        alias_ttl_s=0.2,
        cache_bytes=CACHE_BYTES,
        memory_bytes=ROOM_FOR * (CACHE_BYTES + 2**20),
        threads=1,
    ) as serving:
        yield serving, root, base / "state"


@pytest.fixture
def place(student_of_its_own: tuple[Serving, Path, Path], registry: StandInRegistry) -> Iterator[Place]:
    """The server with nothing in memory; at the end nothing is in memory either."""
    serving, root, state_dir = student_of_its_own
    registry.away, registry.damage = False, b""
    with Client(serving.address) as client:
        place = Place(serving, root, state_dir, client)
        empty(place)
        yield place
        empty(place)


def empty(place: Place) -> None:
    """Frees every model, whatever holds it."""

    def nothing_resident() -> bool:
        for name, resident in place.residents().items():
            if resident.pinned:
                place.pin(name, False)
            place.unload(name, force=True)
        return not place.residents()

    wait_for(nothing_resident, "the server to be empty")
