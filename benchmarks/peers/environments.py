"""An environment of its own for each peer, made once under out/bench."""

import hashlib
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.peers.session import PeerFailed

FOLDER = Path(__file__).parents[2] / "out" / "bench" / "environments"
REASON_CHARACTERS = 200


@dataclass(frozen=True)
class Environment:
    """A folder with a Python and the packages of one peer."""

    name: str
    requirements: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    """Taken out again after the installation: what a requirement brings along and breaks it here."""
    cmake: tuple[str, ...] = ()
    """Options for what is compiled, for this machine's processor."""

    def home(self, folder: Path = FOLDER) -> Path:
        """Where it is: what is compiled for one processor, or with some options, is not for another, or with others."""
        if not self.cmake:
            return folder / self.name
        key = hashlib.sha256("\n".join([_processor_features(), *self.cmake]).encode()).hexdigest()[:8]
        return folder / f"{self.name}-{key}"

    def python(self, limit_s: float, folder: Path = FOLDER) -> Path:
        """Its interpreter, after installing what is missing.

        Raises:
            PeerFailed: an installation failed or took longer than the limit.
        """
        home = self.home(folder)
        python, installed = home / "bin" / "python", home / "requirements.txt"
        wanted = "\n".join(self.requirements) + "\n"
        if installed.exists() and installed.read_text() == wanted:
            return python
        folder.mkdir(parents=True, exist_ok=True)
        print(f"installing {', '.join(self.requirements)} into {home}", flush=True)
        with (folder / f"{self.name}.log").open("w+") as log:
            try:
                if not python.exists():
                    _run([sys.executable, "-m", "venv", str(home)], log, limit_s)
                # pip would give another processor what it kept of this one's compilation.
                anew = ["--no-cache-dir"] if self.cmake else []
                _run([str(python), "-m", "pip", "install", *anew, *self.requirements], log, limit_s, self.cmake)
                if self.unwanted:
                    _run([str(python), "-m", "pip", "uninstall", "--yes", *self.unwanted], log, limit_s)
            except subprocess.TimeoutExpired:
                raise PeerFailed(f"not installed within {limit_s:g} s") from None
            except subprocess.CalledProcessError:
                log.seek(0)
                raise PeerFailed(f"not installable here: {_reason(log.read())}") from None
        installed.write_text(wanted)
        return python


def _processor_features() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(line for line in lines if line.startswith(("flags", "Features")))


def _run(command: list[str], log: IO[str], limit_s: float, cmake: tuple[str, ...] = ()) -> None:
    variables = os.environ | {"CMAKE_ARGS": shlex.join(cmake)}
    subprocess.run(command, stdout=log, stderr=log, env=variables, check=True, timeout=limit_s)


def _reason(log: str) -> str:
    """pip's own last error."""
    errors = [line for line in log.splitlines() if line.startswith("ERROR:")]
    return (errors[-1].removeprefix("ERROR:") if errors else log.strip().rpartition("\n")[2]).strip()[
        :REASON_CHARACTERS
    ]
