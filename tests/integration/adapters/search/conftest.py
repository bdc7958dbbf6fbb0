"""A search service on a real port, with a scripted student behind a real server."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.scripted.inference import ScriptedInference

from seodang.adapters.search.service import SearchService
from seodang.adapters.search.servicer import SearchServicer
from seodang.adapters.search.settings import SearchSettings
from seodang.api.search.v1 import search_pb2_grpc
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, Mount, ServerConfig


@dataclass(frozen=True)
class Mesh:
    """A client of the search service, and the student behind it."""

    client: AsyncClient
    student: ScriptedInference
    settings: SearchSettings


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[Mesh]:
    student = ScriptedInference(["models/search", "models/other"])
    config = ServerConfig(grace_s=1)
    async with MeshServer("student", [student.mount()], config) as upstream:
        settings = SearchSettings(state_dir=tmp_path / "search", student_address=upstream.address)
        async with AsyncClient(upstream.address) as upstream_client:
            servicer = SearchServicer(SearchService(upstream_client, settings))
            mount = Mount(
                servicer,
                search_pb2_grpc.add_SearchServiceServicer_to_server,
                "seodang.api.search.v1.SearchService",
            )
            async with MeshServer("search", [mount], config) as server, AsyncClient(server.address) as client:
                yield Mesh(client, student, settings)
