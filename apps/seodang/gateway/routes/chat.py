"""``POST /v1/chat/completions``."""

from contextlib import AsyncExitStack
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from seodang.api.inference.v1 import generate_pb2
from seodang.capture import Recorder
from seodang.gateway.access import tenant_of
from seodang.gateway.generation import Inference, OnAnswer
from seodang.gateway.openai.chat_body import ChatBody
from seodang.gateway.openai.chat_reply import ChatReply
from seodang.gateway.openai.tool_answer import Outcome
from seodang.gateway.sse import EventStream


def router(inference: Inference, recorder: Recorder | None) -> APIRouter:
    """The path, served by ``inference``; what people agree to share goes to ``recorder``."""
    routes = APIRouter(tags=["generation"])

    def settled(model: str, outcome: Outcome) -> None:
        inference.metrics.tool_answers.labels(model, outcome.value).inc()

    def kept(body: ChatBody, request: Request, call: generate_pb2.GenerateRequest) -> OnAnswer | None:
        if recorder is None or not body.store:
            return None
        return partial(recorder.offer, tenant_of(request), body.subject(), call)

    @routes.post("/v1/chat/completions")
    async def create_chat_completion(body: ChatBody, request: Request) -> Response:
        """Continues a conversation."""
        reply, timeout_s = ChatReply(body, settled), inference.timeout_s(request)
        call = body.request(request.scope["seodang.request_id"])
        if not body.stream:
            done = await inference.generate_whole(call, timeout_s, kept(body, request, call))
            return JSONResponse(reply.whole(done))
        async with AsyncExitStack() as stack:
            generation = await stack.enter_async_context(inference.generate(call, timeout_s, kept(body, request, call)))
            return EventStream(reply.chunks(generation), stack.pop_all())

    return routes
