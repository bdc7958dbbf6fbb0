"""The console in a real browser, in front of a real teacher, student and distillation server."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Page, expect, sync_playwright
from tests.serving import Serving, wait_for

SHOTS: Final = Path(__file__).resolve().parents[3] / "out" / "console"
_FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
_PATIENCE_MS: Final = 90_000
_REMEDY: Final = "the browser test needs the program chromium (Debian package chromium): apt-get install -y chromium"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _process(module: str, log_path: Path, **settings: object) -> Iterator[None]:
    prefix = f"SEODANG_{module.rpartition('.')[2].upper()}_"
    env = os.environ | {f"{prefix}{name.upper()}": str(value) for name, value in settings.items()}
    with log_path.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", module], env=env, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``sums.jsonl``, which a job may name."""
    root = tmp_path_factory.mktemp("data")
    lines = [{"messages": [{"role": "user", "content": f"{n} + 1"}], "answer": str(n + 1)} for n in range(60)]
    (root / "sums.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.fixture(scope="module")
def console_url(
    teacher: Serving, student: Serving, data_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where the console is; the adapters are down."""
    folder, distill, port = tmp_path_factory.mktemp("console"), f"127.0.0.1:{_free_port()}", _free_port()
    nowhere = {f"{name}_address": "127.0.0.1:9" for name in ("voice", "search", "messaging", "robotics")}
    with (
        _process(
            "seodang.distill", folder / "distill.log", port=distill.partition(":")[2], state_dir=folder / "state",
            teacher_address=teacher.address, data_roots=json.dumps([str(data_root)]),
        ),
        _process(
            "seodang.console", folder / "console.log", port=port, teacher_address=teacher.address,
            student_address=student.address, distill_address=distill, timeout_s=10, **nowhere,
        ),
    ):  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        wait_for(lambda: _answers(f"{url}/_stcore/health"), f"the console; {folder / 'console.log'}", timeout_s=120)
        yield url


@pytest.fixture(scope="module")
def page(console_url: str) -> Iterator[Page]:
    """A tab of headless Chromium that notes what it asks of other machines."""
    executable = shutil.which("chromium")
    if executable is None:
        (pytest.fail if os.environ.get("SEODANG_REQUIRE_BROWSER") == "1" else pytest.skip)(_REMEDY)
    SHOTS.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, headless=True, args=list(_FLAGS))
        page = browser.new_page(viewport={"width": 1440, "height": 1000}, base_url=console_url)
        page.set_default_timeout(_PATIENCE_MS)
        expect.set_options(timeout=_PATIENCE_MS)
        yield page
        browser.close()
