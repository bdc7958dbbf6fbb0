"""What a host can say about its ranks."""

import enum

import msgspec


class HostState(enum.Enum):
    """Life of a group of ranks."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


class RankHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One engine process, from its last heartbeat."""

    rank: int
    pid: int
    alive: bool
    heartbeat_age_s: float
    resident_bytes: int
    running: int
    waiting: int
    free_cache_tokens: int
    lost: dict[str, str]
    """Models whose external server does not answer, each with the reason."""


class HostHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The whole group."""

    state: HostState
    ranks: tuple[RankHealth, ...]
    models: tuple[str, ...]
    requests: int
    """Requests under way."""
    restarts: int
    """Restarts since the start."""
    last_fault: str = ""
    """Why the group was last restarted."""

    @property
    def lost(self) -> dict[str, str]:
        """Models whose external server does not answer, each with the reason."""
        return self.ranks[0].lost if self.ranks else {}

    @property
    def serves(self) -> bool:
        """Whether the ranks are up, and not every model is lost."""
        return self.state is HostState.READY and not (self.models and self.lost.keys() >= set(self.models))


class ProbeResult(msgspec.Struct, frozen=True, kw_only=True):
    """A real completion of one token."""

    model_id: str
    token_id: int
    first_token_s: float
