"""``POST /v1/chat/completions``."""

from contextlib import AsyncExitStack

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seodang.gateway.generation import Inference
from seodang.gateway.openai.chat_body import ChatBody
from seodang.gateway.openai.chat_reply import ChatReply
from seodang.gateway.openai.tool_answer import Outcome
from seodang.gateway.sse import EventStream


def router(inference: Inference) -> APIRouter:
    """The path, served by ``inference``."""
    routes = APIRouter(tags=["generation"])

    def settled(model: str, outcome: Outcome) -> None:
        inference.metrics.tool_answers.labels(model, outcome.value).inc()

    @routes.post("/v1/chat/completions")
    async def create_chat_completion(body: ChatBody, request: Request) -> Response:
        """Continues a conversation."""
        reply, timeout_s = ChatReply(body, settled), inference.timeout_s(request)
        call = body.request(request.scope["seodang.request_id"])
        if not body.stream:
            return JSONResponse(reply.whole(await inference.generate_whole(call, timeout_s)))
        async with AsyncExitStack() as stack:
            generation = await stack.enter_async_context(inference.generate(call, timeout_s))
            return EventStream(reply.chunks(generation), stack.pop_all())

    return routes
