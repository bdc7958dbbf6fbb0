"""Asks a process of the mesh whether it is ready."""

from typing import Any

import grpc
import httpx
from grpc_health.v1 import health_pb2, health_pb2_grpc

from seodang.cli.members import Probe
from seodang.rpc import open_async_channel


async def is_ready(probe: Probe, address: str, timeout_s: float = 2.0) -> bool:
    """True once the process answers that it serves; False while it does not answer."""
    if probe is Probe.GRPC:
        return await _grpc_ready(address, timeout_s)
    async with httpx.AsyncClient(timeout=timeout_s) as client:
        try:
            return (await client.get(f"http://{address}{probe.value}")).status_code == 200
        except httpx.TransportError:
            return False


async def _grpc_ready(address: str, timeout_s: float) -> bool:
    async with open_async_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
