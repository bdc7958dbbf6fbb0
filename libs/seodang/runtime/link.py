"""An engine process's socket to its host: commands come in on a thread, events and heartbeats go out."""

import os
import queue
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeAlias

from seodang.worker.messages import Command, Event, Heartbeat
from seodang.worker.wire import FrameError, frame, parse_command

Task: TypeAlias = Callable[[], None]
_LENGTH = struct.Struct("<I")


class Progress:
    """How the main loop is doing, as its own thread may read it at any moment."""

    def __init__(self) -> None:
        self.steps = 0
        self.running = 0
        self.waiting = 0
        self.free_cache_tokens = 0
        self.lost: dict[str, str] = {}
        """Models whose external server does not answer; replaced, never changed."""
        self._busy_since = 0.0

    def start(self) -> None:
        """The main loop begins something that may take long, or has come on with it."""
        self.steps += 1
        self._busy_since = time.monotonic()

    def rest(self) -> None:
        """The main loop waits for commands."""
        self._busy_since = 0.0

    @property
    def busy_s(self) -> float:
        """Seconds since the main loop last came on; 0 while it waits for commands."""
        since = self._busy_since
        return time.monotonic() - since if since else 0.0


class Link:
    """The process ends when the host's side of the socket closes: nobody is left to serve."""

    def __init__(self, connection: socket.socket, rank: int, progress: Progress, heartbeat_interval_s: float) -> None:
        self._connection = connection
        self._rank = rank
        self._progress = progress
        self._interval_s = heartbeat_interval_s
        self._commands: queue.SimpleQueue[Command | Task] = queue.SimpleQueue()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def take(self, *, wait: bool) -> list[Command | Task]:
        """Commands and tasks that have come; with ``wait``, at least one."""
        commands = [self._commands.get()] if wait else []
        while not self._commands.empty():
            commands.append(self._commands.get())
        return commands

    def post(self, task: Task) -> None:
        """Have the main loop run something, from another thread."""
        self._commands.put(task)

    def send(self, events: Iterable[Event]) -> None:
        """Send events in order; one system call for all."""
        data = b"".join(map(frame, events))
        if data:
            with self._lock:
                self._connection.sendall(data)

    def _read(self) -> None:
        try:
            with self._connection.makefile("rb") as stream:
                while head := stream.read(_LENGTH.size):
                    body = stream.read(_LENGTH.unpack(head)[0])
                    self._commands.put(parse_command(body))
        except (OSError, struct.error, FrameError) as error:
            print(f"rank {self._rank}: lost the host: {error!r}", flush=True)
        os._exit(0)

    def _beat(self) -> None:
        while True:
            progress = self._progress
            beat = Heartbeat(
                rank=self._rank,
                steps=progress.steps,
                busy_s=progress.busy_s,
                resident_bytes=_resident_bytes(),
                running=progress.running,
                waiting=progress.waiting,
                free_cache_tokens=progress.free_cache_tokens,
                lost=progress.lost,
            )
            try:
                self.send([beat])
            except OSError:
                os._exit(0)
            time.sleep(self._interval_s)


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as stream:  # noqa: PTH123  twice a second, from a thread
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
