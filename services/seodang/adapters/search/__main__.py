"""Run the search service: ``python -m seodang.adapters.search``."""

from seodang.adapters.search.service import SearchService
from seodang.adapters.search.servicer import SearchServicer
from seodang.adapters.search.settings import SearchSettings
from seodang.api.search.v1 import search_pb2, search_pb2_grpc
from seodang.base.process import run_process
from seodang.capture import keeping
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, Mount, ServerConfig

_SERVICE = search_pb2.DESCRIPTOR.services_by_name["SearchService"].full_name


async def serve() -> None:
    """Serves until it is told to stop."""
    settings = SearchSettings.load()
    config = ServerConfig(settings.host, settings.port, settings.grace_s)
    async with (
        AsyncClient(settings.student_address) as student,
        keeping(settings.capture_address, settings.capture_tenant) as keep,
    ):
        servicer = SearchServicer(SearchService(student, settings, keep))
        mount = Mount(servicer, search_pb2_grpc.add_SearchServiceServicer_to_server, _SERVICE)
        async with MeshServer("search", [mount], config) as server:
            await server.set_ready()
            await server.serve_until_signalled()


if __name__ == "__main__":
    run_process("search", serve())
