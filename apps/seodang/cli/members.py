"""The processes of a mesh on one machine: what each is, where it listens, whom it talks to."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from seodang.base import ports


class Probe(Enum):
    """How a process is asked whether it is ready."""

    GRPC = "grpc.health.v1"
    GATEWAY = "/readyz"
    CONSOLE = "/_stcore/health"


@dataclass(frozen=True)
class Member:
    """One process of the mesh."""

    name: str
    module: str
    port: int
    upstreams: tuple[str, ...] = ()
    """Names of the members it calls; it gets each one's address as ``SEODANG_<NAME>_<UPSTREAM>_ADDRESS``."""
    probe: Probe = Probe.GRPC
    keeps_state: bool = True
    """Whether it has a folder of its own to remember things in."""
    extra_env: dict[str, str] = field(default_factory=dict)


MEMBERS: Final[tuple[Member, ...]] = (
    Member("teacher", "seodang.teacher", ports.TEACHER, keeps_state=False),
    Member("student", "seodang.student", ports.STUDENT, upstreams=("registry",)),
    Member("distill", "seodang.distill", ports.DISTILL, upstreams=("teacher",)),
    Member("voice", "seodang.adapters.voice", ports.VOICE, upstreams=("student", "capture")),
    Member("search", "seodang.adapters.search", ports.SEARCH, upstreams=("student", "capture")),
    Member("messaging", "seodang.adapters.messaging", ports.MESSAGING, upstreams=("student", "capture")),
    Member("robotics", "seodang.adapters.robotics", ports.ROBOTICS, upstreams=("student", "capture")),
    Member(
        "gateway", "seodang.gateway", ports.GATEWAY,
        upstreams=("teacher", "student", "messaging", "capture"), probe=Probe.GATEWAY, keeps_state=False,
    ),
    Member(
        "console", "seodang.console", ports.CONSOLE,
        upstreams=("teacher", "student", "distill", "voice", "search", "messaging", "robotics"),
        probe=Probe.CONSOLE, keeps_state=False,
    ),
)  # fmt: skip

# Registry and capture are services of the distill process.
_PROVIDER: Final = {"registry": "distill", "capture": "distill"}


def environment(member: Member, addresses: dict[str, str], state_dir: Path) -> dict[str, str]:
    """The settings of one member, given the host:port of each member of the mesh.

    A member that is not in this mesh is expected where it usually listens.
    """
    prefix = f"SEODANG_{member.name.upper()}_"
    host, _, port = addresses[member.name].rpartition(":")
    settings = {f"{prefix}HOST": host, f"{prefix}PORT": port}
    for upstream in member.upstreams:
        provider = _PROVIDER.get(upstream, upstream)
        settings[f"{prefix}{upstream.upper()}_ADDRESS"] = addresses.get(provider) or _usual_address(provider)
    if member.keeps_state:
        settings[f"{prefix}STATE_DIR"] = str(state_dir / member.name)
    return settings | member.extra_env


def _usual_address(name: str) -> str:
    return next(ports.local(member.port) for member in MEMBERS if member.name == name)
