"""Limits, keepalive and retries: the numbers that both ends of every connection of the mesh agree on."""

import json
from dataclasses import dataclass
from typing import Final

# Calls that gRPC may repeat by itself: unary, and without a second effect. Generate would generate again. A stream is
# never among them: one whose server dies before its first answer never ends once it has a retry policy (seen with
# grpcio 1.85: every call, also past its deadline). Whoever reads a stream resumes it; the contract has offsets for it.
RETRIED: Final[dict[str, tuple[str, ...]]] = {
    "seodang.api.inference.v1.InferenceService": ("Embed", "CountTokens", "GetModel", "ListModels"),
    "seodang.api.serving.v1.ControlService": ("GetServerInfo", "GetLoad"),
    "seodang.api.serving.v1.PlacementService": ("ListResidentModels",),
    "seodang.api.distill.v1.DistillationService": ("CreateJob", "GetJob", "ListJobs", "ListCorpora"),
    "seodang.api.registry.v1.RegistryService": ("GetVersion", "ListVersions", "ResolveModel", "GetLineage"),
    "seodang.api.search.v1.SearchService": ("Query", "GetIndex", "IndexDocuments", "DeleteDocuments"),
    "seodang.api.messaging.v1.MessagingService": ("DeliverEvent", "ListReplies"),
    "seodang.api.voice.v1.VoiceService": ("ListEngines",),
    "seodang.api.robotics.v1.RoboticsService": ("EmergencyStop",),
}


@dataclass(frozen=True)
class ConnectionPolicy:
    """What a connection carries and how it is kept alive."""

    max_message_bytes: int = 16 * 2**20
    """Largest message either side accepts. Larger things travel in chunks."""
    keepalive_ping_ms: int = 30_000
    """How often an idle connection is checked. Servers must permit this rate or they close the connection."""
    keepalive_timeout_ms: int = 10_000
    """How long an answer to a ping may take before the connection counts as dead."""
    retry_attempts: int = 4
    """Attempts of a unary idempotent call in all, the first included, while the answer is UNAVAILABLE."""
    retry_initial_backoff_s: float = 0.2
    retry_max_backoff_s: float = 2.0
    reconnect_backoff_ms: int = 200
    reconnect_max_backoff_ms: int = 2000
    """Longest pause between attempts to reach a server that is down. gRPC's own 2 minutes would let a server that was
    restarted alone look dead for as long."""

    def channel_options(self) -> list[tuple[str, int | str]]:
        """gRPC options of a client."""
        return [
            *self._size_options(),
            ("grpc.keepalive_time_ms", self.keepalive_ping_ms),
            ("grpc.keepalive_timeout_ms", self.keepalive_timeout_ms),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", self.reconnect_backoff_ms),
            ("grpc.max_reconnect_backoff_ms", self.reconnect_max_backoff_ms),
            ("grpc.enable_retries", 1),
            ("grpc.service_config", self._service_config()),
        ]

    def server_options(self) -> list[tuple[str, int | str]]:
        """gRPC options of a server."""
        return [
            *self._size_options(),
            ("grpc.keepalive_time_ms", self.keepalive_ping_ms),
            ("grpc.keepalive_timeout_ms", self.keepalive_timeout_ms),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", self.keepalive_ping_ms // 3),
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.so_reuseport", 0),
        ]

    def _size_options(self) -> list[tuple[str, int | str]]:
        return [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
        ]

    def _service_config(self) -> str:
        names = [{"service": service, "method": method} for service, methods in RETRIED.items() for method in methods]
        retry = {
            "maxAttempts": self.retry_attempts,
            "initialBackoff": f"{self.retry_initial_backoff_s}s",
            "maxBackoff": f"{self.retry_max_backoff_s}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        return json.dumps({"methodConfig": [{"name": names, "retryPolicy": retry}]})
