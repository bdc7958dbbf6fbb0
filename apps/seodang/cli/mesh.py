"""A mesh of processes on one machine: started together, watched, restarted one by one, stopped together."""

import asyncio
import contextlib
import socket
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from seodang.base.children import start_child, stop_child
from seodang.base.errors import Conflict, Unavailable
from seodang.cli.members import Member, environment
from seodang.cli.probe import is_ready


class State(Enum):
    """Where a process of the mesh stands."""

    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True)
class MeshConfig:
    """Where a mesh listens, remembers and logs, and how patient it is."""

    folder: Path
    """Logs go to ``folder/logs``, what the services remember to ``folder/state``."""
    host: str = "127.0.0.1"
    free_ports: bool = False
    """Take free ports instead of the usual ones, so that a second mesh can run beside the first."""
    start_timeout_s: float = 180.0
    stop_grace_s: float = 15.0
    restart_backoff_s: float = 1.0
    restart_backoff_max_s: float = 30.0


Listener: TypeAlias = Callable[[str, State], None]


class Mesh:
    """The processes of ``members``, as an async context manager; inside it ``addresses`` tells where each one listens.

    A process that dies is started again by itself while the others go on.

    Raises:
        Conflict: a port is taken.
        Unavailable: a process did not become ready; the message ends with the last lines of its log.
    """

    def __init__(self, members: Sequence[Member], config: MeshConfig, listener: Listener | None = None) -> None:
        self.members = members
        self._config = config
        self._listener = listener or (lambda name, state: None)
        self._processes: dict[str, asyncio.subprocess.Process] = {}
        self._watchers: list[asyncio.Task[None]] = []
        self.states = {member.name: State.STOPPED for member in members}
        self.addresses: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        (self._config.folder / "logs").mkdir(parents=True, exist_ok=True)
        (self._config.folder / "state").mkdir(parents=True, exist_ok=True)
        self.addresses = self._allot()
        try:
            await asyncio.gather(*(self._start(member) for member in self.members))
            await asyncio.gather(*(self._wait_ready(member) for member in self.members))
        except BaseException:
            await self._stop()
            raise
        self._watchers = [asyncio.create_task(self._watch(member)) for member in self.members]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await self._stop()

    def pid(self, name: str) -> int:
        """The process id of a member as it runs now."""
        return self._processes[name].pid

    def log_path(self, name: str) -> Path:
        """Where a member's log is."""
        return self._config.folder / "logs" / f"{name}.log"

    def _allot(self) -> dict[str, str]:
        wanted = [0 if self._config.free_ports else member.port for member in self.members]
        with contextlib.ExitStack() as stack:
            ports = [stack.enter_context(_bound(self._config.host, port)).getsockname()[1] for port in wanted]
        return {member.name: f"{self._config.host}:{port}" for member, port in zip(self.members, ports, strict=True)}

    async def _start(self, member: Member) -> None:
        env = environment(member, self.addresses, self._config.folder / "state")
        with self.log_path(member.name).open("ab") as log:
            command = [sys.executable, "-m", member.module]
            self._processes[member.name] = await start_child(command, env, log)
        self._turn(member, State.STARTING)

    async def _wait_ready(self, member: Member) -> None:
        deadline_s = time.monotonic() + self._config.start_timeout_s
        process = self._processes[member.name]
        while not await is_ready(member.probe, self.addresses[member.name]):
            if process.returncode is not None:
                raise Unavailable(f"{member.name} ended with status {process.returncode}:\n{self._last_words(member)}")
            if time.monotonic() > deadline_s:
                raise Unavailable(
                    f"{member.name} was not ready after {self._config.start_timeout_s:g} s:\n{self._last_words(member)}"
                )
            await asyncio.sleep(0.1)
        self._turn(member, State.READY)

    async def _watch(self, member: Member) -> None:
        backoff_s = self._config.restart_backoff_s
        while True:
            began_s = time.monotonic()
            await self._processes[member.name].wait()
            if time.monotonic() - began_s > 60:
                backoff_s = self._config.restart_backoff_s
            self._turn(member, State.RESTARTING)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, self._config.restart_backoff_max_s)
            await self._start(member)
            try:
                await self._wait_ready(member)
            except Unavailable:  # it ended again, or hangs: the loop waits longer and starts it once more
                await stop_child(self._processes[member.name], self._config.stop_grace_s)

    async def _stop(self) -> None:
        await asyncio.gather(*(stop_child(process, self._config.stop_grace_s) for process in self._processes.values()))
        for member in self.members:
            self._turn(member, State.STOPPED)

    def _turn(self, member: Member, state: State) -> None:
        self.states[member.name] = state
        self._listener(member.name, state)

    def _last_words(self, member: Member) -> str:
        lines = self.log_path(member.name).read_text(errors="replace").splitlines()[-15:]
        return "\n".join(f"    {line}" for line in lines)


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise Conflict(
            f"port {port} of {host} is taken: stop what uses it (is another mesh running?) or use --free-ports"
        ) from error
    return listener


def select(members: Iterable[Member], names: Sequence[str]) -> list[Member]:
    """The members of those names, in the mesh's own order; all of them when no name is given."""
    return [member for member in members if not names or member.name in names]
