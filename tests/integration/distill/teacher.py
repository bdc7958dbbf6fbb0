"""An inference server that only tells which models it has, for tests of who asks before a job starts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from seodang.api.inference.v1 import inference_pb2, inference_pb2_grpc, model_pb2
from seodang.base.errors import NotFound
from seodang.rpc import MeshServer, Mount, ServerConfig

MODELS = {
    "models/teacher": [model_pb2.CAPABILITY_GENERATE, model_pb2.CAPABILITY_SCORE, model_pb2.CAPABILITY_CHAT],
    "models/mute": [model_pb2.CAPABILITY_SCORE],
    "models/foreign": [model_pb2.CAPABILITY_GENERATE, model_pb2.CAPABILITY_SCORE, model_pb2.CAPABILITY_CHAT],
    "models/talker": [model_pb2.CAPABILITY_GENERATE, model_pb2.CAPABILITY_CHAT],
}


class Catalogue(inference_pb2_grpc.InferenceServiceServicer):
    async def GetModel(self, request: inference_pb2.GetModelRequest, context: Any) -> inference_pb2.GetModelResponse:
        if request.name not in MODELS:
            raise NotFound(f"no model {request.name!r}")
        model = model_pb2.Model(
            name=request.name, vocabulary_size=320, capabilities=MODELS[request.name],
            state=model_pb2.MODEL_STATE_READY, tokenizer_sha256="f" if request.name == "models/foreign" else "t",
        )  # fmt: skip
        return inference_pb2.GetModelResponse(model=model)


@asynccontextmanager
async def running_teacher() -> AsyncIterator[MeshServer]:
    mount = Mount(
        Catalogue(), inference_pb2_grpc.add_InferenceServiceServicer_to_server,
        inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name,
    )  # fmt: skip
    async with MeshServer("teacher", [mount], ServerConfig(grace_s=1)) as server:
        await server.set_ready()
        yield server
