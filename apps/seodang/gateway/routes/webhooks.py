"""``POST /webhooks/slack`` and ``/webhooks/kakao``: passed on as received; the messaging server checks and answers."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from seodang.api.messaging.v1 import messaging_pb2
from seodang.base.errors import InternalFault
from seodang.gateway.failures import BodyTooLarge
from seodang.gateway.upstreams import Upstreams

_MAX_BODY_BYTES: Final = 2**20  # what MessagingService takes


def router(upstreams: Upstreams, timeout_s: float) -> APIRouter:
    """The paths, answered by the messaging server within ``timeout_s``."""
    routes = APIRouter(tags=["webhooks"])

    async def deliver(platform: messaging_pb2.Platform.ValueType, request: Request) -> Response:
        body = await request.body()
        if len(body) > _MAX_BODY_BYTES:
            raise BodyTooLarge(f"the body has {len(body)} bytes, and a webhook has at most {_MAX_BODY_BYTES}")
        event = messaging_pb2.DeliverEventRequest(platform=platform, headers=_headers(request), body=body)
        answer = await upstreams.messaging.messaging.DeliverEvent(event, timeout=timeout_s)
        if not 200 <= answer.status <= 599:
            raise InternalFault(f"the messaging server answered with HTTP status {answer.status}: report it")
        return Response(answer.body, answer.status, media_type=answer.content_type or None)

    @routes.post("/webhooks/slack")
    async def slack(request: Request) -> Response:
        """An event of Slack's Events API."""
        return await deliver(messaging_pb2.PLATFORM_SLACK, request)

    @routes.post("/webhooks/kakao")
    async def kakao(request: Request) -> Response:
        """A skill request of a KakaoTalk chatbot."""
        return await deliver(messaging_pb2.PLATFORM_KAKAO, request)

    return routes


def _headers(request: Request) -> dict[str, str]:
    """Names in lower case; a header sent twice is joined, as RFC 9110 (5.3) says."""
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers
