"""Finds the processes of a test's own state folder, and kills them as an operator's kill -9 would."""

import os
import signal
from pathlib import Path


def workers(state_dir: Path) -> dict[int, str]:
    """Process number and job's name of each worker at work below ``state_dir``."""
    jobs_dir = str((state_dir / "jobs").absolute()) + "/"
    found = {}
    for command in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            last = command.read_bytes().rstrip(b"\0").split(b"\0")[-1].decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if last.startswith(jobs_dir):
            found[int(command.parent.name)] = f"jobs/{last.removeprefix(jobs_dir)}"
    return found


def kill_worker(state_dir: Path, job: str) -> None:
    """Kills the worker of one job."""
    for number, worked_on in workers(state_dir).items():
        if worked_on == job:
            os.kill(number, signal.SIGKILL)


def kill_newest_process(state_dir: Path, job: str) -> None:
    """Kills the process of one job that was started last: one of several ranks."""
    os.kill(max(number for number, worked_on in workers(state_dir).items() if worked_on == job), signal.SIGKILL)
