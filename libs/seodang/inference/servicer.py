"""InferenceService, the same on teacher and students: between the contract and the models of one engine host."""

from collections.abc import AsyncIterator
from typing import Any, Final, TypeAlias

from grpc import aio

from seodang.api.inference.v1 import generate_pb2, inference_pb2, inference_pb2_grpc, score_pb2
from seodang.api.types.v1 import usage_pb2
from seodang.base.errors import InvalidInput
from seodang.inference.completions import Completions, InferenceLimits
from seodang.inference.describe import describe_models
from seodang.inference.directory import ModelDirectory
from seodang.inference.heads import OutputHeads
from seodang.inference.pages import page_of
from seodang.inference.prompts import to_prompt, to_text
from seodang.inference.requests import request_id_of
from seodang.inference.scoring import Scoring
from seodang.inference.tensors import from_worker
from seodang.inference.tokenizer_files import stream_tokenizer
from seodang.rpc import Mount, ending_in_fault
from seodang.worker import EngineHost
from seodang.worker.messages import Pooling

Context: TypeAlias = aio.ServicerContext[Any, Any]

SERVICE: Final = inference_pb2.DESCRIPTOR.services_by_name["InferenceService"].full_name
MAX_EMBED_TEXTS: Final = 256
_POOLINGS: Final = {
    inference_pb2.EmbedRequest.POOLING_UNSPECIFIED: Pooling.MEAN,
    inference_pb2.EmbedRequest.POOLING_MEAN: Pooling.MEAN,
    inference_pb2.EmbedRequest.POOLING_LAST: Pooling.LAST,
}


class InferenceServicer(inference_pb2_grpc.InferenceServiceServicer):
    """Answers for every model of a directory."""

    def __init__(self, host: EngineHost, directory: ModelDirectory, limits: InferenceLimits | None = None) -> None:
        self._host = host
        self._directory = directory
        self._completions = Completions(host, directory, limits or InferenceLimits())
        self._scoring = Scoring(host, directory)
        self._heads = OutputHeads(host, directory)

    def mount(self) -> Mount:
        """For a ``MeshServer``."""
        return Mount(self, inference_pb2_grpc.add_InferenceServiceServicer_to_server, SERVICE)

    def Generate(
        self, request: generate_pb2.GenerateRequest, context: Context
    ) -> AsyncIterator[generate_pb2.GenerateResponse]:
        """Continues a prompt."""
        request_id = request_id_of(request.request_id)
        responses = self._completions.stream(request, request_id)
        return ending_in_fault(
            responses, lambda fault: generate_pb2.GenerateResponse(fault=fault), f"Generate {request_id}"
        )

    def Score(self, request: score_pb2.ScoreRequest, context: Context) -> AsyncIterator[score_pb2.ScoreResponse]:
        """The distributions over given sequences."""
        request_id = request_id_of(request.request_id)
        responses = self._scoring.stream(request, request_id)
        return ending_in_fault(responses, lambda fault: score_pb2.ScoreResponse(fault=fault), f"Score {request_id}")

    def GetOutputHead(
        self, request: score_pb2.GetOutputHeadRequest, context: Context
    ) -> AsyncIterator[score_pb2.GetOutputHeadResponse]:
        """The matrix that turns hidden states into logits."""
        return self._heads.stream(request)

    def GetTokenizer(
        self, request: inference_pb2.GetTokenizerRequest, context: Context
    ) -> AsyncIterator[inference_pb2.GetTokenizerResponse]:
        """The files of the tokenizer."""
        return stream_tokenizer(self._directory, request.model)

    async def Embed(self, request: inference_pb2.EmbedRequest, context: Context) -> inference_pb2.EmbedResponse:
        """One vector a text."""
        if not 1 <= len(request.texts) <= MAX_EMBED_TEXTS:
            raise InvalidInput(f"texts has {len(request.texts)}: send 1 to {MAX_EMBED_TEXTS}", field="texts")
        pooling = _POOLINGS.get(request.pooling)
        if pooling is None:
            raise InvalidInput(f"pooling={request.pooling}: must be MEAN or LAST", field="pooling")
        prompts = [to_text(text, f"texts[{at}]") for at, text in enumerate(request.texts)]
        async with self._directory.lease(request.model) as model:
            embedded = await self._host.embed(
                model.info.model_id, prompts, pooling=pooling, normalize=request.normalize
            )
        return inference_pb2.EmbedResponse(
            embeddings=from_worker(embedded.vectors),
            usage=usage_pb2.Usage(prompt_tokens=sum(embedded.prompt_tokens)),
        )

    async def CountTokens(
        self, request: inference_pb2.CountTokensRequest, context: Context
    ) -> inference_pb2.CountTokensResponse:
        """How a prompt is tokenized."""
        async with self._directory.lease(request.model) as model:
            prompt = to_prompt(request.prompt, model.info)
            rendered = await self._host.render(model.info.model_id, prompt)
        ids = rendered.token_ids
        return inference_pb2.CountTokensResponse(tokens=len(ids), ids=ids if request.return_ids else ())

    async def GetModel(
        self, request: inference_pb2.GetModelRequest, context: Context
    ) -> inference_pb2.GetModelResponse:
        """One model."""
        (model,) = describe_models([await self._directory.find(request.name)], self._host)
        return inference_pb2.GetModelResponse(model=model)

    async def ListModels(
        self, request: inference_pb2.ListModelsRequest, context: Context
    ) -> inference_pb2.ListModelsResponse:
        """A page of models."""
        page, next_token = page_of(
            self._directory.listing(), lambda listed: listed.name, request.page_size, request.page_token
        )
        return inference_pb2.ListModelsResponse(models=describe_models(page, self._host), next_page_token=next_token)
