"""``POST /v1/embeddings``."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse

from seodang.gateway.generation import Inference
from seodang.gateway.openai.embedding import EmbeddingBody, embedding_reply


def router(inference: Inference) -> APIRouter:
    """The path, served by ``inference``."""
    routes = APIRouter(tags=["embeddings"])

    @routes.post("/v1/embeddings")
    async def create_embedding(body: EmbeddingBody, request: Request) -> JSONResponse:
        """One vector a text."""
        answer = await inference.embed(body.request(), inference.timeout_s(request))
        return JSONResponse(embedding_reply(body, answer))

    return routes
