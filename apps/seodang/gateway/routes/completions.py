"""``POST /v1/completions``."""

from contextlib import AsyncExitStack

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seodang.gateway.generation import Inference
from seodang.gateway.openai.completion import CompletionBody, CompletionReply
from seodang.gateway.sse import EventStream


def router(inference: Inference) -> APIRouter:
    """The path, served by ``inference``."""
    routes = APIRouter(tags=["generation"])

    @routes.post("/v1/completions")
    async def create_completion(body: CompletionBody, request: Request) -> Response:
        """Continues a text."""
        reply, timeout_s = CompletionReply(body), inference.timeout_s(request)
        call = body.request(request.scope["seodang.request_id"])
        if not body.stream:
            return JSONResponse(reply.whole(await inference.generate_whole(call, timeout_s)))
        async with AsyncExitStack() as stack:
            generation = await stack.enter_async_context(inference.generate(call, timeout_s))
            return EventStream(reply.chunks(generation), stack.pop_all())

    return routes
