"""`seodang up` as its users run it: one process, whose children are the services."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.serving import wait_for

PATIENCE_S = 240.0
"""For a mesh to come up, or a service to come back, on a machine that has other things to do."""


@dataclass(frozen=True)
class Up:
    """A running mesh."""

    process: subprocess.Popen[bytes]
    folder: Path

    def said(self) -> list[list[str]]:
        """Each change of a service so far: its name, its address, how it stands."""
        words = [line.split() for line in self.output().splitlines()]
        return [line for line in words if len(line) == 3 and re.fullmatch(r"\S+:\d+", line[1])]

    def output(self) -> str:
        """Everything it has written."""
        return (self.folder / "up.log").read_text()

    def states(self) -> dict[str, str]:
        """How each service stands now."""
        return {name: state for name, _, state in self.said()}

    def address(self, name: str) -> str:
        """host:port of a service; it keeps it when it is started again."""
        return next(address for each, address, _ in self.said() if each == name)

    def pids(self) -> dict[str, int]:
        """The process of each service."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        found = {}
        for pid in children.split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            # The console becomes the program that runs it; the others keep the name of their module.
            text = b" ".join(command).decode()
            if match := re.search(r"seodang[./](?:adapters[./])?(\w+)(?:/app\.py)?", text.rpartition("-m ")[2]):
                found[match[1]] = int(pid)
        return found

    def kill(self, name: str) -> None:
        """Kills a service as an operator's kill -9 would, and waits until that was noticed."""
        before = self.said()
        os.kill(self.pids()[name], signal.SIGKILL)
        wait_for(lambda: self.said()[len(before) :], f"the end of {name} to be noticed")

    def is_back(self, name: str) -> bool:
        """Whether a service stands ready."""
        assert self.process.poll() is None, self.output()
        return self.states()[name] == "ready"


@contextmanager
def running_up(folder: Path, **settings: object) -> Iterator[Up]:
    """The whole mesh on free ports, all its state below ``folder``; ``settings`` are variables without SEODANG_."""
    folder.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **{f"SEODANG_{name.upper()}": str(value) for name, value in settings.items()}}
    env.pop("GRPC_VERBOSITY", None)
    command = [sys.executable, "-m", "seodang.cli", "up", "--free-ports", "--folder", str(folder)]
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    up = Up(process, folder)

    def is_up() -> bool:
        assert process.poll() is None, up.output()
        return "The mesh is up" in up.output()

    try:
        wait_for(is_up, "the mesh to be up", timeout_s=PATIENCE_S)
        yield up
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=PATIENCE_S)
