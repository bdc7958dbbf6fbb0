"""Settings of the gateway."""

from pathlib import Path

from pydantic import Field

from seodang.base import ports
from seodang.base.errors import InvalidInput
from seodang.base.settings import Settings, settings_config

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class GatewaySettings(Settings):
    """Read from ``SEODANG_GATEWAY_*``."""

    model_config = settings_config("SEODANG_GATEWAY_")

    host: str = "127.0.0.1"
    port: int = Field(default=ports.GATEWAY, ge=0, le=65535)
    """0 takes a free port."""
    grace_s: float = Field(default=20.0, gt=0)
    """How long answers on their way may go on once the gateway is told to stop."""
    teacher_address: str = ports.local(ports.TEACHER)
    student_address: str = ports.local(ports.STUDENT)
    messaging_address: str = ports.local(ports.MESSAGING)
    capture_address: str = ""
    """host:port of the server that keeps what people agree to share for training; empty keeps nothing."""
    api_keys_file: Path | None = None
    """SHA-256 of each key, one a line, with a name after it; None lets everyone in."""
    allow_anonymous: bool = False
    """Serve beyond this machine without keys, because something in front of the gateway checks who calls."""
    max_body_bytes: int = Field(default=4 * 2**20, gt=0)
    request_timeout_s: float = Field(default=600.0, gt=0)
    """Longest time a request may take; it becomes the deadline of the call behind it."""
    lookup_timeout_s: float = Field(default=5.0, gt=0)
    """Longest time to ask a server which models it holds."""
    webhook_timeout_s: float = Field(default=10.0, gt=0)

    def check_exposure(self) -> None:
        """Refuses to be an open door to the network by accident.

        Raises:
            InvalidInput: the host is reachable from outside, and neither keys nor ``allow_anonymous`` are set.
        """
        if self.host not in _LOOPBACK and self.api_keys_file is None and not self.allow_anonymous:
            raise InvalidInput(
                f"SEODANG_GATEWAY_HOST={self.host!r} is reachable from outside and no keys are set: set "
                "SEODANG_GATEWAY_API_KEYS_FILE, or SEODANG_GATEWAY_ALLOW_ANONYMOUS=true if something in front checks "
                "who calls"
            )
