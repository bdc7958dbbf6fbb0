"""Translates between the contract and the messaging service."""

from typing import Any

from grpc import aio

from seodang.adapters.messaging.domain import Platform, Reply, State
from seodang.adapters.messaging.service import MessagingService
from seodang.api.messaging.v1 import messaging_pb2, messaging_pb2_grpc
from seodang.base.errors import InvalidInput

Context = aio.ServicerContext[Any, Any]

_PLATFORMS = {messaging_pb2.PLATFORM_SLACK: Platform.SLACK, messaging_pb2.PLATFORM_KAKAO: Platform.KAKAO}
_WIRE_PLATFORMS = {platform: number for number, platform in _PLATFORMS.items()}
_STATES = {
    State.WAITING: messaging_pb2.Reply.STATE_WAITING,
    State.SENDING: messaging_pb2.Reply.STATE_WAITING,
    State.SENT: messaging_pb2.Reply.STATE_SENT,
    State.FAILED: messaging_pb2.Reply.STATE_FAILED,
    State.UNCERTAIN: messaging_pb2.Reply.STATE_UNCERTAIN,
}


class MessagingServicer(messaging_pb2_grpc.MessagingServiceServicer):
    """The contract's MessagingService."""

    def __init__(self, service: MessagingService) -> None:
        self._service = service

    async def DeliverEvent(
        self, request: messaging_pb2.DeliverEventRequest, context: Context
    ) -> messaging_pb2.DeliverEventResponse:
        """Takes one webhook."""
        answer = await self._service.deliver(
            _platform(request.platform), request.headers, request.body, context.time_remaining()
        )
        return messaging_pb2.DeliverEventResponse(
            status=answer.status,
            content_type=answer.content_type,
            body=answer.body,
            duplicate=answer.duplicate,
            reply=_name(answer.reply_uid) if answer.reply_uid else "",
        )

    async def ListReplies(
        self, request: messaging_pb2.ListRepliesRequest, context: Context
    ) -> messaging_pb2.ListRepliesResponse:
        """A page of replies."""
        replies, token = await self._service.replies(request.page_size, request.page_token, request.conversation)
        return messaging_pb2.ListRepliesResponse(replies=map(_reply, replies), next_page_token=token)


def _platform(number: messaging_pb2.Platform.ValueType) -> Platform:
    platform = _PLATFORMS.get(number)
    if platform is None:
        raise InvalidInput(f"platform={number}: say PLATFORM_SLACK or PLATFORM_KAKAO", field="platform")
    return platform


def _name(uid: str) -> str:
    return f"replies/{uid}"


def _reply(reply: Reply) -> messaging_pb2.Reply:
    return messaging_pb2.Reply(
        name=_name(reply.uid),
        platform=_WIRE_PLATFORMS[reply.platform],
        conversation=reply.conversation,
        text=reply.text,
        state=_STATES[reply.state],
        attempts=reply.attempts,
        last_error=reply.last_error,
    )
