"""What time it is, and how the contract writes it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def to_timestamp(moment: datetime) -> Timestamp:
    """A moment as a message."""
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
