"""An adapter as a process of its own, to be killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.serving import wait_for


@contextmanager
def adapter_process(name: str, folder: Path, **settings: object) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The process of ``python -m seodang.adapters.NAME`` and its address. Its state and its logs stay in ``folder``."""
    log_path = folder / f"{name}-{len(list(folder.glob('*.log')))}.log"
    values = {"port": 0, "state_dir": folder / "state"} | settings
    env = os.environ | {f"SEODANG_{name.upper()}_{key.upper()}": str(value) for key, value in values.items()}
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", f"seodang.adapters.{name}"], env=env, stdout=log, stderr=log)
    try:

        def address() -> str:
            written = log_path.read_text()
            assert process.poll() is None, written
            return written.partition(f"{name} serves on ")[2].partition("\n")[0]

        yield process, wait_for(address, f"{name} to open its port")
    finally:
        process.kill()
        process.wait()
