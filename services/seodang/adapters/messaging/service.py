"""Decides what messaging does: who is believed, what is answered at once, and what later."""

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from seodang.adapters.messaging.channel import Channel
from seodang.adapters.messaging.domain import MAX_BODY_BYTES, HttpAnswer, Platform, Received, Reply, Route
from seodang.adapters.messaging.kakao import patience, skill_response
from seodang.adapters.messaging.replier import Replier
from seodang.adapters.messaging.repository import MessageRepository
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.base.errors import InvalidInput, Unsupported

DEFAULT_PAGE_SIZE: Final = 50
LARGEST_PAGE_SIZE: Final = 1000
# What is left of the caller's deadline for the way back.
_WAY_BACK_S: Final = 1.0
_SECRETS: Final = {
    Platform.SLACK: "SEODANG_MESSAGING_SLACK_SIGNING_SECRET and SEODANG_MESSAGING_SLACK_BOT_TOKEN",
    Platform.KAKAO: "SEODANG_MESSAGING_KAKAO_TOKEN",
}


class MessagingService:
    """Takes webhooks and lists replies."""

    def __init__(
        self,
        channels: Mapping[Platform, Channel],
        repository: MessageRepository,
        replier: Replier,
        settings: MessagingSettings,
    ) -> None:
        self._channels = channels
        self._repository = repository
        self._replier = replier
        self._settings = settings

    async def deliver(
        self, platform: Platform, headers: Mapping[str, str], body: bytes, time_left_s: float
    ) -> HttpAnswer:
        """What to answer a webhook with. A message that is believed is on disk before this returns.

        Raises:
            InvalidInput: the body is too large. Unsupported: the messenger's secrets are not set.
        """
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInput(f"body is {len(body)} bytes, more than {MAX_BODY_BYTES}", field="body")
        channel = self._channels.get(platform)
        if channel is None:
            raise Unsupported(f"{platform} is not set up here: set {_SECRETS[platform]}", reason="NOT_CONFIGURED")
        now_s = time.time()
        read = channel.read({name.lower(): value for name, value in headers.items()}, body, now_s)
        if isinstance(read, HttpAnswer):
            return read
        received = await self._repository.take_in(read, now_s)
        self._replier.wake()
        if read.route is Route.POST:
            return HttpAnswer(200, duplicate=received.duplicate, reply_uid=received.uid)
        answer = await self._respond(received, time_left_s)
        return replace(answer, duplicate=received.duplicate)

    async def _respond(self, received: Received, time_left_s: float) -> HttpAnswer:
        """The reply in the response, if it is there in time; else patience, or the fallback."""
        wait_s = min(self._settings.kakao_answer_within_s, time_left_s - _WAY_BACK_S)
        await self._replier.wait_for_reply(received.id, wait_s)
        text = await self._repository.settle_response(received.id, self._settings.fallback_text, time.time())
        return patience(received.uid) if text is None else skill_response(text)

    async def replies(self, page_size: int, page_token: str, conversation: str) -> tuple[Sequence[Reply], str]:
        """A page of replies, newest first, and the token of the next page.

        Raises:
            InvalidInput: a bad size or token.
        """
        if page_size < 0:
            raise InvalidInput(f"page_size={page_size}: must be 0 or more", field="page_size")
        limit = min(page_size or DEFAULT_PAGE_SIZE, LARGEST_PAGE_SIZE)
        found = await self._repository.replies(conversation, _position(page_token), limit + 1)
        return found[:limit], _token(found[limit - 1].id) if len(found) > limit else ""


def _token(last_id: int) -> str:
    return base64.urlsafe_b64encode(f"before {last_id}".encode()).decode().rstrip("=")


def _position(token: str) -> int | None:
    if not token:
        return None
    try:
        word, _, number = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().partition(" ")
        position = int(number) if word == "before" else -1
    except (binascii.Error, ValueError):
        position = -1
    if not 0 < position < 2**63:
        raise InvalidInput(
            f"page_token={token[:80]!r} is none of this service: pass next_page_token as it came", field="page_token"
        )
    return position
