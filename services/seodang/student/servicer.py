"""PlacementService: translates between the contract and ``Placement``."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import datetime
from typing import Any, Final, TypeAlias

from google.protobuf import timestamp_pb2
from grpc import aio

from seodang.api.serving.v1 import placement_pb2, placement_pb2_grpc
from seodang.base.errors import InvalidInput, Unsupported
from seodang.inference import ModelName, describe_models, page_of
from seodang.rpc import Mount, ending_in_fault
from seodang.student.domain import FolderSource, LoadOrder, Progress, Resident, Source, VersionSource
from seodang.student.folders import ModelRoots
from seodang.student.loading import Loading
from seodang.student.service import Placement
from seodang.worker import EngineHost
from seodang.worker.messages import DType

Context: TypeAlias = aio.ServicerContext[Any, Any]

SERVICE: Final = placement_pb2.DESCRIPTOR.services_by_name["PlacementService"].full_name
DTYPES: Final[dict[str, DType]] = {"float32": "float32", "bfloat16": "bfloat16", "int8": "int8", "int4": "int4"}


class PlacementServicer(placement_pb2_grpc.PlacementServiceServicer):
    """Answers for one server's models."""

    def __init__(self, host: EngineHost, placement: Placement, roots: ModelRoots, default_dtype: DType) -> None:
        self._host = host
        self._placement = placement
        self._roots = roots
        self._default_dtype = default_dtype

    def mount(self) -> Mount:
        """For a ``MeshServer``."""
        return Mount(self, placement_pb2_grpc.add_PlacementServiceServicer_to_server, SERVICE)

    def LoadModel(
        self, request: placement_pb2.LoadModelRequest, context: Context
    ) -> AsyncIterator[placement_pb2.LoadModelResponse]:
        """Makes a model resident."""
        loading = self._placement.load(self._order(request))
        return ending_in_fault(
            self._events(loading),
            lambda fault: placement_pb2.LoadModelResponse(fault=fault),
            f"LoadModel {request.name}",
        )

    async def UnloadModel(
        self, request: placement_pb2.UnloadModelRequest, context: Context
    ) -> placement_pb2.UnloadModelResponse:
        """Frees a model."""
        freed_bytes = await self._placement.unload(_name(request.name), force=request.force)
        return placement_pb2.UnloadModelResponse(freed_bytes=freed_bytes)

    async def PinModel(
        self, request: placement_pb2.PinModelRequest, context: Context
    ) -> placement_pb2.PinModelResponse:
        """Sets or lifts the protection from eviction."""
        resident = self._placement.pin(_name(request.name), request.pinned)
        return placement_pb2.PinModelResponse(model=self._message(resident))

    async def ListResidentModels(
        self, request: placement_pb2.ListResidentModelsRequest, context: Context
    ) -> placement_pb2.ListResidentModelsResponse:
        """A page of what is in memory."""
        page, next_token = page_of(
            self._placement.residents(), lambda resident: resident.served.name, request.page_size, request.page_token
        )
        return placement_pb2.ListResidentModelsResponse(
            models=[self._message(resident) for resident in page], next_page_token=next_token
        )

    async def _events(self, loading: Loading) -> AsyncGenerator[placement_pb2.LoadModelResponse, None]:
        async with aclosing(loading.watch()) as steps:
            async for progress in steps:
                yield placement_pb2.LoadModelResponse(progress=_progress(progress))
        yield placement_pb2.LoadModelResponse(ready=self._message(await loading.result()))

    def _order(self, request: placement_pb2.LoadModelRequest) -> LoadOrder:
        dtype = DTYPES.get(request.dtype) if request.dtype else self._default_dtype
        if dtype is None:
            raise InvalidInput(f"dtype={request.dtype!r}: must be {' or '.join(DTYPES)}, or left out", field="dtype")
        layout = request.layout
        if max(layout.tensor_parallel, layout.expert_parallel, layout.pipeline_parallel) > 1:
            raise Unsupported(
                "layout: students of this server run on one rank each; leave it out", metadata={"field": "layout"}
            )
        return LoadOrder(_name(request.name), self._source(request), dtype, request.pin, request.replace)

    def _source(self, request: placement_pb2.LoadModelRequest) -> Source:
        kind = request.WhichOneof("source")
        if kind == "folder":
            return FolderSource(self._roots.resolve(request.folder))
        if kind == "version":
            version = ModelName.parse(request.version, field="version")
            if not version.version:
                raise InvalidInput(f"version={request.version!r}: write models/NAME/versions/VERSION", field="version")
            return VersionSource(version)
        raise InvalidInput("the request names no source: set version or folder", field="source")

    def _message(self, resident: Resident) -> placement_pb2.ResidentModel:
        (model,) = describe_models([resident.served], self._host)
        return placement_pb2.ResidentModel(
            model=model,
            source=str(resident.order.source),
            memory_bytes=resident.memory_bytes,
            pinned=resident.pinned,
            load_time=_timestamp(resident.load_time),
            last_use_time=_timestamp(resident.last_use_time),
        )


def _name(text: str) -> str:
    name = ModelName.parse(text, field="name")
    if name.alias:
        raise InvalidInput(f"name={text!r} is an alias: name a model or a version", field="name")
    return str(name)


def _progress(progress: Progress) -> placement_pb2.LoadProgress:
    return placement_pb2.LoadProgress(
        bytes_read=progress.bytes_done, total_bytes=progress.bytes_total, stage=progress.stage
    )


def _timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message
