"""How a host runs its engine processes."""

import msgspec


class HostSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of one group of engine processes."""

    ranks: int = 1
    """Processes in the group; a model's layout must fill it."""
    device: str = "cpu"
    """``cpu`` (gloo) or ``cuda`` (NCCL, one GPU a rank)."""
    threads: int | None = None
    """Compute threads of each rank; None: the machine's cores divided by ranks."""
    start_timeout_s: float = 120.0
    """A rank that has not said hello by then counts as failed."""
    heartbeat_interval_s: float = 0.5
    heartbeat_timeout_s: float = 15.0
    """A rank silent for longer counts as hung. Loading and long steps keep beating."""
    step_timeout_s: float = 120.0
    """A main loop that does not come on for longer counts as hung."""
    restart_backoff_s: float = 0.5
    """First pause before a restart; doubles with each failure in a row."""
    restart_backoff_max_s: float = 30.0
    shutdown_timeout_s: float = 10.0
    """Time to leave on request, before the ranks are killed."""
    stream_window_chunks: int = 4
    """Chunks of scores a stream may run ahead of its reader."""
