"""Puts the messaging process together and takes it apart in order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from seodang.adapters.messaging.channel import Channel
from seodang.adapters.messaging.database import open_database
from seodang.adapters.messaging.domain import Platform
from seodang.adapters.messaging.kakao import KakaoChannel
from seodang.adapters.messaging.replier import Replier
from seodang.adapters.messaging.repository import MessageRepository
from seodang.adapters.messaging.sender import Sender
from seodang.adapters.messaging.service import MessagingService
from seodang.adapters.messaging.servicer import MessagingServicer
from seodang.adapters.messaging.settings import MessagingSettings
from seodang.adapters.messaging.slack import SlackChannel
from seodang.api.messaging.v1 import messaging_pb2, messaging_pb2_grpc
from seodang.base.errors import InvalidInput
from seodang.capture import keeping
from seodang.client import AsyncClient
from seodang.rpc import MeshServer, Mount, ServerConfig

_SERVICE = messaging_pb2.DESCRIPTOR.services_by_name["MessagingService"].full_name


@asynccontextmanager
async def running_server(settings: MessagingSettings) -> AsyncIterator[MeshServer]:
    """The service on its port. Leaving takes no more webhooks, then finishes what is being sent.

    Raises:
        InvalidInput: half of a messenger's secrets is missing. Conflict: the port or the folder is taken.
    """
    try:
        async with _running(settings) as server:
            yield server
    except ExceptionGroup as group:
        # One failure is that failure; the group around it would only hide its kind.
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from group


@asynccontextmanager
async def _running(settings: MessagingSettings) -> AsyncIterator[MeshServer]:
    channels = configured_channels(settings)
    # A kept connection that the messenger closed meanwhile would make a send uncertain for nothing.
    limits = httpx.Limits(max_keepalive_connections=0)
    async with (
        AsyncClient(settings.student_address) as student,
        keeping(settings.capture_address, settings.capture_tenant) as keep,
        open_database(settings.state_dir) as engine,
        httpx.AsyncClient(timeout=settings.send_timeout_s, limits=limits) as http,
        asyncio.TaskGroup() as group,
    ):
        repository = MessageRepository(engine)
        sender = Sender(repository, channels, http, settings)
        replier = Replier(repository, student, sender, settings, keep)
        servicer = MessagingServicer(MessagingService(channels, repository, replier, settings))
        mount = Mount(servicer, messaging_pb2_grpc.add_MessagingServiceServicer_to_server, _SERVICE)
        # Should one of them meet a fault of ours, the group ends the process: its next start goes on from the disk.
        replying, sending = group.create_task(replier.run()), group.create_task(sender.run())
        try:
            config = ServerConfig(settings.host, settings.port, settings.grace_s)
            async with MeshServer("messaging", [mount], config) as server:
                await server.set_ready()
                yield server
        finally:
            replying.cancel()
            sender.stop()
            await asyncio.wait([sending])


def configured_channels(settings: MessagingSettings) -> dict[Platform, Channel]:
    """The messengers whose secrets are set.

    Raises:
        InvalidInput: Slack has one of its two secrets only.
    """
    channels: dict[Platform, Channel] = {}
    signing_secret = settings.slack_signing_secret.get_secret_value()
    bot_token = settings.slack_bot_token.get_secret_value()
    if bool(signing_secret) != bool(bot_token):
        missing = "SLACK_BOT_TOKEN" if signing_secret else "SLACK_SIGNING_SECRET"
        raise InvalidInput(f"SEODANG_MESSAGING_{missing} is not set: Slack needs it as well as its other secret")
    if signing_secret:
        channels[Platform.SLACK] = SlackChannel(signing_secret, bot_token, settings.slack_api_url, settings.give_up_s)
    if token := settings.kakao_token.get_secret_value():
        channels[Platform.KAKAO] = KakaoChannel(token, settings.kakao_bot_id, settings.kakao_callback_prefix)
    return channels
