"""RegistryService of the contract, translated."""

from collections.abc import AsyncIterator
from typing import Any

from grpc import aio

from seodang.api.registry.v1 import registry_pb2 as pb
from seodang.api.registry.v1 import registry_pb2_grpc
from seodang.distill.clock import to_timestamp
from seodang.distill.registry.domain import Alias, Lineage, NodeKind, Version
from seodang.distill.registry.service import RegistryService

Context = aio.ServicerContext[Any, Any]

_KINDS = {
    NodeKind.TEACHER: pb.LineageNode.KIND_TEACHER,
    NodeKind.DATA: pb.LineageNode.KIND_DATA,
    NodeKind.RECIPE: pb.LineageNode.KIND_RECIPE,
    NodeKind.CODE: pb.LineageNode.KIND_CODE,
    NodeKind.STUDENT: pb.LineageNode.KIND_STUDENT,
    NodeKind.EVALUATION: pb.LineageNode.KIND_EVALUATION,
}


class RegistryServicer(registry_pb2_grpc.RegistryServiceServicer):
    """Between messages and the service."""

    def __init__(self, service: RegistryService) -> None:
        self._service = service

    async def GetVersion(self, request: pb.GetVersionRequest, context: Context) -> pb.GetVersionResponse:
        """One version."""
        return pb.GetVersionResponse(version=self._version(await self._service.get(request.name)))

    async def ListVersions(self, request: pb.ListVersionsRequest, context: Context) -> pb.ListVersionsResponse:
        """A page of versions."""
        page = await self._service.page(request.parent, request.page_size, request.page_token)
        return pb.ListVersionsResponse(versions=map(self._version, page.items), next_page_token=page.next_token)

    async def ResolveModel(self, request: pb.ResolveModelRequest, context: Context) -> pb.ResolveModelResponse:
        """What a name stands for."""
        return pb.ResolveModelResponse(version=self._version(await self._service.resolve(request.name)))

    async def PromoteVersion(self, request: pb.PromoteVersionRequest, context: Context) -> pb.PromoteVersionResponse:
        """Moves an alias."""
        alias = await self._service.promote(request.version, request.alias, request.etag)
        return pb.PromoteVersionResponse(alias=_alias(alias))

    async def RollbackAlias(self, request: pb.RollbackAliasRequest, context: Context) -> pb.RollbackAliasResponse:
        """Moves an alias back."""
        return pb.RollbackAliasResponse(alias=_alias(await self._service.roll_back(request.name, request.etag)))

    async def GetLineage(self, request: pb.GetLineageRequest, context: Context) -> pb.GetLineageResponse:
        """What made a version."""
        return _lineage(await self._service.lineage(request.version))

    async def DownloadVersion(
        self, request: pb.DownloadVersionRequest, context: Context
    ) -> AsyncIterator[pb.DownloadVersionResponse]:
        """The files of a version."""
        async for path, offset, data in self._service.download(request.version, request.paths, request.skip_bytes):
            yield pb.DownloadVersionResponse(path=path, offset=offset, data=data)

    def _version(self, version: Version) -> pb.Version:
        return pb.Version(
            name=str(version.name),
            create_time=to_timestamp(version.create_time),
            job=f"jobs/{version.job_id}",
            parameters=version.parameters,
            total_bytes=sum(file.bytes for file in version.files),
            files=[pb.File(path=file.path, bytes=file.bytes, sha256=file.sha256) for file in version.files],
            sha256=version.sha256,
            passed_gate=version.passed_gate,
            aliases=[f"models/{version.name.model}@{alias}" for alias in version.aliases],
            scores=version.scores,
            folder=self._service.folder(version),
        )


def _alias(alias: Alias) -> pb.Alias:
    return pb.Alias(
        name=str(alias.move.name),
        version=str(alias.move.version),
        previous_version=str(alias.previous.version) if alias.previous else "",
        update_time=to_timestamp(alias.move.time),
        etag=alias.etag,
    )


def _lineage(lineage: Lineage) -> pb.GetLineageResponse:
    nodes = [pb.LineageNode(id=node.id, kind=_KINDS[node.kind], facts=node.facts) for node in lineage.nodes]
    # `from` is a word of the language, so the field can only be set by name.
    edges = [pb.LineageEdge(**{"from": source, "to": target}) for source, target in lineage.edges]
    return pb.GetLineageResponse(nodes=nodes, edges=edges)
