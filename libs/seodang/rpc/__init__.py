"""How the mesh speaks gRPC: one way to start a server, one way to open a channel, one table of errors."""

from seodang.rpc.channel import open_async_channel, open_channel
from seodang.rpc.policy import ConnectionPolicy
from seodang.rpc.server import MeshServer, Mount, ServerConfig
from seodang.rpc.status import from_fault, from_rpc_error, to_fault, to_status
from seodang.rpc.streams import ending_in_fault

__all__ = [
    "ConnectionPolicy",
    "MeshServer",
    "Mount",
    "ServerConfig",
    "ending_in_fault",
    "from_fault",
    "from_rpc_error",
    "open_async_channel",
    "open_channel",
    "to_fault",
    "to_status",
]
