"""A peer that fails is a reason in the table: never a hang, and never a process left behind."""

import shlex
import sys
from pathlib import Path

import pytest
from benchmarks.peers.environments import Environment
from benchmarks.peers.session import PeerFailed, Session
from benchmarks.peers.work import RESERVED_IDS, Work

WORK = Work(
    checkpoint="no/such/checkpoint",
    weights="bf16",
    vocabulary=32,
    cache_bytes_per_token=64,
    threads=1,
    levels=(1, 2),
    prompt_tokens=16,
    new_tokens=4,
)


def failure(folder: Path, module: str, limit_s: float) -> tuple[str, Path]:
    """Why the session failed, and where its leading process was."""
    with Session(Path(sys.executable), module, WORK, folder, limit_s) as session:
        process = Path(f"/proc/{session.pid}")
        assert process.exists()
        with pytest.raises(PeerFailed) as failed:
            list(session.events())
    return str(failed.value), process


def test_a_peer_that_ends_early_fails_with_its_own_last_words(tmp_path: Path) -> None:
    reason, process = failure(tmp_path, "absent_peer", limit_s=60)
    assert reason.startswith("ended with status 1: ")
    assert "No module named benchmarks.peers.absent_peer" in reason
    assert not process.exists()


def test_a_peer_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    reason, process = failure(tmp_path, "seodang_peer", limit_s=0.05)
    assert reason.startswith("not done within 0.05 s")
    assert not process.exists()


def borrow_python(home: Path) -> None:
    """An environment with this interpreter, so that none has to be made."""
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "python").symlink_to(sys.executable)


def test_a_peer_that_cannot_be_installed_fails_with_the_reason_of_pip(tmp_path: Path) -> None:
    broken = Environment("broken", ("./no-such-folder",))
    borrow_python(broken.home(tmp_path))
    with pytest.raises(PeerFailed, match=r"not installable here: .*no-such-folder"):
        broken.python(limit_s=60, folder=tmp_path)
    assert not (tmp_path / "broken" / "requirements.txt").exists()


def test_what_is_compiled_is_told_its_options(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (project / "backend.py").write_text(
        "import os, pathlib\n"
        "def build_wheel(*_):\n"
        "    pathlib.Path('told').write_text(os.environ['CMAKE_ARGS'])\n"
        "    raise SystemExit(1)\n"
    )
    options = ("-DGGML_NATIVE=ON", "-DCMAKE_CXX_FLAGS=-include one.h")
    environment = Environment("compiled", (str(project),), cmake=options)
    borrow_python(environment.home(tmp_path))
    with pytest.raises(PeerFailed, match="not installable here"):
        environment.python(limit_s=100, folder=tmp_path)
    assert tuple(shlex.split((project / "told").read_text())) == options


def test_other_options_of_a_compilation_are_another_environment(tmp_path: Path) -> None:
    homes = {Environment("compiled", (), cmake=options).home(tmp_path) for options in ((), ("-DA=1",), ("-DA=2",))}
    assert len(homes) == 3


def test_prompts_are_the_same_for_every_engine_and_share_no_prefix() -> None:
    prompts = WORK.prompts(2, seed=1)
    assert prompts == WORK.prompts(2, seed=1)
    assert prompts[0][0] != prompts[1][0]
    assert all(RESERVED_IDS <= token < WORK.vocabulary for prompt in prompts for token in prompt)


def test_the_work_arrives_as_it_was_sent(tmp_path: Path) -> None:
    WORK.write(tmp_path / "work.json")
    assert Work.read(tmp_path / "work.json") == WORK
