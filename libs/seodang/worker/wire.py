"""Framing: four bytes of little-endian length, then one MessagePack message."""

import asyncio
import struct
from typing import Final

import msgspec

from seodang.worker.messages import Command, Event

MAX_FRAME_BYTES: Final = 64 * 2**20
_LENGTH = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()
_commands: msgspec.msgpack.Decoder[Command] = msgspec.msgpack.Decoder(Command)
_events: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


class FrameError(Exception):
    """The peer sent bytes that are no frame of ours; the connection cannot go on."""


def frame(message: Command | Event) -> bytes:
    """Encode one message with its length."""
    body = _encoder.encode(message)
    if len(body) > MAX_FRAME_BYTES:
        raise FrameError(f"{type(message).__name__} takes {len(body)} bytes, limit {MAX_FRAME_BYTES}")
    return _LENGTH.pack(len(body)) + body


def parse_command(body: bytes | memoryview) -> Command:
    """Decode and validate a command."""
    try:
        return _commands.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise FrameError(f"not a command: {error}") from error


def parse_event(body: bytes | memoryview) -> Event:
    """Decode and validate an event."""
    try:
        return _events.decode(body)
    except (msgspec.DecodeError, ValueError) as error:
        raise FrameError(f"not an event: {error}") from error


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """Read one frame's body. ``asyncio.IncompleteReadError`` when the peer has gone."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise FrameError(f"frame of {length} bytes announced, limit {MAX_FRAME_BYTES}")
    return await reader.readexactly(length)
