"""The one way to open a channel to a server of the mesh."""

import grpc
from grpc import aio

from seodang.base.errors import InvalidInput
from seodang.rpc.policy import ConnectionPolicy


def open_channel(address: str, policy: ConnectionPolicy | None = None) -> grpc.Channel:
    """A channel for threads. ``address`` is host:port.

    Raises:
        InvalidInput: the address is not host:port.
    """
    return grpc.insecure_channel(_checked(address), options=(policy or ConnectionPolicy()).channel_options())


def open_async_channel(address: str, policy: ConnectionPolicy | None = None) -> aio.Channel:
    """A channel for the running event loop. ``address`` is host:port.

    Raises:
        InvalidInput: the address is not host:port.
    """
    return aio.insecure_channel(_checked(address), options=(policy or ConnectionPolicy()).channel_options())


def _checked(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InvalidInput(f"address={address!r} is not host:port, such as 127.0.0.1:7101", field="address")
    return address
