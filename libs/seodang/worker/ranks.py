"""The processes of one group: spawned together, watched together, killed together."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from seodang.base.errors import Unavailable
from seodang.worker.health import RankHealth
from seodang.worker.messages import Command, Event, Heartbeat, Shutdown
from seodang.worker.settings import HostSettings
from seodang.worker.wire import FrameError, frame, parse_event, read_frame

WATCH_INTERVAL_S = 0.1


@dataclass(slots=True)
class _Rank:
    """One process and the host's end of its socket."""

    rank: int
    process: Process
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    beat: Heartbeat | None = None
    beat_at: float = field(default_factory=time.monotonic)

    def fault(self, settings: HostSettings) -> str:
        """What is wrong with the process, or nothing."""
        code = self.process.returncode
        if code is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            return f"rank {self.rank} (process {self.process.pid}) {how}"
        silent_s = time.monotonic() - self.beat_at
        if self.ready.is_set() and silent_s > settings.heartbeat_timeout_s:
            return f"rank {self.rank} (process {self.process.pid}) has been silent for {silent_s:.1f} s"
        if self.beat and self.beat.busy_s > settings.step_timeout_s:
            return f"rank {self.rank} (process {self.process.pid}) hangs in one step for {self.beat.busy_s:.1f} s"
        return ""


class RankGroup:
    """Use as ``async with``: leaving it, no process is left."""

    def __init__(self, settings: HostSettings, on_event: Callable[[Event], None]) -> None:
        self._settings = settings
        self._on_event = on_event
        self._ranks: list[_Rank] = []
        self._readers: list[asyncio.Task[None]] = []
        self._rendezvous = tempfile.TemporaryDirectory(prefix="seodang-ranks-")
        self._broken = ""
        self._closed = asyncio.Event()

    async def __aenter__(self) -> "RankGroup":
        try:
            for rank in range(self._settings.ranks):
                self._ranks.append(await self._spawn(rank))
            self._readers = [asyncio.create_task(self._read(rank)) for rank in self._ranks]
            await self._all_ready()
        except BaseException:
            await self._kill()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.fault():
            await self._ask_to_leave()
        await self._kill()

    def send(self, command: Command) -> None:
        """Queue a command for rank 0; a dead rank shows in ``fault``, not here."""
        self._ranks[0].writer.write(frame(command))

    def fault(self) -> str:
        """Why the group must end, or nothing."""
        return self._broken or next((text for rank in self._ranks if (text := rank.fault(self._settings))), "")

    async def wait_for_fault(self) -> str:
        """Return when a rank has died or hangs, with the reason."""
        while not (reason := self.fault()):
            await self._look_again()
        return reason

    def health(self) -> tuple[RankHealth, ...]:
        """Each rank, from its last heartbeat."""
        now = time.monotonic()
        return tuple(
            RankHealth(
                rank=rank.rank,
                pid=rank.process.pid,
                alive=rank.process.returncode is None,
                heartbeat_age_s=now - rank.beat_at,
                resident_bytes=rank.beat.resident_bytes if rank.beat else 0,
                running=rank.beat.running if rank.beat else 0,
                waiting=rank.beat.waiting if rank.beat else 0,
                free_cache_tokens=rank.beat.free_cache_tokens if rank.beat else 0,
                lost=rank.beat.lost if rank.beat else {},
            )
            for rank in self._ranks
        )

    async def _spawn(self, rank: int) -> _Rank:
        settings = self._settings
        ours, theirs = socket.socketpair()
        threads = settings.threads or max(1, (os.cpu_count() or 1) // settings.ranks)
        arguments = {
            "--rank": rank,
            "--ranks": settings.ranks,
            "--device": settings.device,
            "--threads": threads,
            "--rendezvous": Path(self._rendezvous.name, "store"),
            "--socket": theirs.fileno(),
            "--parent": os.getpid(),
            "--heartbeat-interval-s": settings.heartbeat_interval_s,
            "--window-chunks": settings.stream_window_chunks,
        }
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "seodang.runtime"),
                *(str(part) for pair in arguments.items() for part in pair),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"},
            )
        reader, writer = await asyncio.open_connection(sock=ours)
        return _Rank(rank, process, reader, writer)

    async def _all_ready(self) -> None:
        try:
            async with asyncio.timeout(self._settings.start_timeout_s):
                while not all(rank.ready.is_set() for rank in self._ranks):
                    if reason := self.fault():
                        raise Unavailable(f"the engine did not start: {reason}; its output says why")
                    await self._look_again()
        except TimeoutError:
            late = [str(rank.rank) for rank in self._ranks if not rank.ready.is_set()]
            limit = self._settings.start_timeout_s
            raise Unavailable(f"the engine did not start: no sign of rank {', '.join(late)} in {limit:g} s") from None

    async def _read(self, rank: _Rank) -> None:
        try:
            while True:
                event = parse_event(await read_frame(rank.reader))
                if isinstance(event, Heartbeat):
                    rank.beat, rank.beat_at = event, time.monotonic()
                    rank.ready.set()
                else:
                    self._on_event(event)
        except (asyncio.IncompleteReadError, ConnectionError):
            self._broken = self._broken or rank.fault(self._settings) or f"rank {rank.rank} closed its socket"
        except FrameError as error:
            self._broken = f"rank {rank.rank} sent what nobody can read: {error}"
        finally:
            self._closed.set()

    async def _look_again(self) -> None:
        """Wait until a socket closes, or for a moment: silence makes no event."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), WATCH_INTERVAL_S)

    async def _ask_to_leave(self) -> None:
        self.send(Shutdown())
        with suppress(TimeoutError):  # who is late is killed next
            async with asyncio.timeout(self._settings.shutdown_timeout_s):
                for rank in self._ranks:
                    await rank.process.wait()

    async def _kill(self) -> None:
        for rank in self._ranks:
            if rank.process.returncode is None:
                with suppress(ProcessLookupError):  # it is gone, and the event loop has not heard of it yet
                    os.killpg(rank.process.pid, signal.SIGKILL)
        for rank in self._ranks:
            await rank.process.wait()
            rank.writer.close()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._rendezvous.cleanup()
