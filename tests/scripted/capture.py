"""A CaptureService that keeps what it is sent and lists the versions it is given, unless a test tells it to be away."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from seodang.api.capture.v1 import capture_pb2, capture_pb2_grpc
from seodang.base.errors import SeodangError
from seodang.rpc import Mount


@dataclass
class ScriptedCapture(capture_pb2_grpc.CaptureServiceServicer):
    """Holds ``interactions``; ``failing`` is raised instead while it is set."""

    interactions: list[capture_pb2.Interaction] = field(default_factory=list)
    versions: list[capture_pb2.DatasetVersion] = field(default_factory=list)
    failing: SeodangError | None = None
    calls: int = 0

    def mount(self) -> Mount:
        """For ``MeshServer``."""
        add = capture_pb2_grpc.add_CaptureServiceServicer_to_server
        return Mount(self, add, "seodang.api.capture.v1.CaptureService")

    async def AppendInteractions(
        self, request_iterator: AsyncIterator[capture_pb2.AppendInteractionsRequest], context: Any
    ) -> capture_pb2.AppendInteractionsResponse:
        self.calls += 1
        came = [request.interaction async for request in request_iterator]
        if self.failing is not None:
            raise self.failing
        self.interactions += came
        return capture_pb2.AppendInteractionsResponse(stored=len(came))

    async def ListDatasetVersions(
        self, request: capture_pb2.ListDatasetVersionsRequest, context: Any
    ) -> capture_pb2.ListDatasetVersionsResponse:
        return capture_pb2.ListDatasetVersionsResponse(versions=self.versions)
