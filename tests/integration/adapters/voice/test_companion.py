import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from seodang.adapters.voice.companion import companion
from seodang.adapters.voice.engines import Synthesiser
from seodang.base.errors import SeodangError, Unavailable

MODULE = "seodang.adapters.voice.synthesiser"


@pytest.fixture
def sockets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="seodang-") as folder:  # a socket's path must be short
        yield Path(folder)


def _pid_listening_on(socket: Path) -> int:
    """The engine's process: the one whose command line has the socket's path."""
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if f"unix://{socket}".encode() in words:
            return int(entry.name)
    raise AssertionError(f"no process serves {socket}")


async def test_an_engine_that_dies_is_started_again(sockets: Path, tmp_path: Path) -> None:
    async with companion(MODULE, (), sockets, tmp_path) as uri:
        synthesiser = Synthesiser(uri, 60)
        assert (await synthesiser.speak("하나", "ko")).seconds > 0.1
        socket = sockets / "synthesiser.sock"
        first = _pid_listening_on(socket)
        os.kill(first, signal.SIGKILL)
        async with asyncio.timeout(100):
            while True:
                try:
                    await synthesiser.speak("둘", "ko")
                    break
                except SeodangError:
                    await asyncio.sleep(0.05)
        assert _pid_listening_on(socket) != first
    with pytest.raises(AssertionError, match="no process"):
        _pid_listening_on(socket)


async def test_an_engine_that_cannot_start_tells_why(sockets: Path, tmp_path: Path) -> None:
    home = tmp_path / "home.json"
    home.write_text("{")
    with pytest.raises(Unavailable, match=r"before it served: .*home\.json"):
        async with companion("seodang.adapters.voice.recogniser", ("--home", str(home)), sockets, tmp_path):
            pass
