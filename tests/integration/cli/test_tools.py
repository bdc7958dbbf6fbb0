"""Commands that reach the runtime through a process of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.tiny_checkpoints import build


def seodang(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "seodang.cli", *arguments], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("axk1"), "axk1")


def test_plan_passes_its_options_on(folder: Path) -> None:
    result = seodang("plan", "--model", str(folder), "--devices", "1", "--memory", "1GiB", "--prefill-tokens", "64")
    assert result.returncode == 0, result.stderr
    assert "* recommended" in result.stdout


def test_lint_finds_errors_and_says_so_by_its_status(folder: Path) -> None:
    result = seodang("lint", str(folder))
    assert result.returncode == 1
    assert "dense-norm" in result.stdout
