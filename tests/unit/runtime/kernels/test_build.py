"""Where the compiled kernels are kept, and what is said when they cannot be had."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seodang.runtime.kernels.build import NoKernels, load_library

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a user."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "seodang"


@pytest.fixture(autouse=True)
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A compiler that writes down how it is called, and that is quick because it does not optimise."""
    script, log = tmp_path / "quick-gcc", tmp_path / "calls"
    script.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec gcc "$@" -O0\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", str(script))
    return log


@needs_gcc
def test_the_kernels_are_compiled_once_and_kept(cache: Path, calls: Path) -> None:
    load_library()
    (kept,) = cache.iterdir()
    assert kept.suffix == ".so"
    assert cache.stat().st_mode & 0o777 == 0o700
    calls.write_text("")
    load_library()
    assert ["-dM" in line for line in calls.read_text().splitlines()] == [True], "only asked for its macros"


@needs_gcc
def test_other_compilers_make_other_libraries(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_library()
    monkeypatch.setenv("CC", f"{os.environ['CC']} -DOTHER")
    load_library()
    assert len(list(cache.iterdir())) == 2


@needs_gcc
def test_another_header_makes_another_library(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_library()
    (tmp_path / "weights.h").write_text("/* another one */")
    monkeypatch.setattr("seodang.runtime.kernels.build.HEADERS", (tmp_path / "weights.h",))
    load_library()
    assert len(list(cache.iterdir())) == 2


@needs_gcc
def test_processes_that_build_at_once_all_get_the_kernels(cache: Path) -> None:
    program = "from seodang.runtime.kernels.build import load_library; load_library().seodang_linear"
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache.parent), "OMP_NUM_THREADS": "1"}
    processes = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(3)]
    assert [process.wait(timeout=100) for process in processes] == [0, 0, 0]
    assert len(list(cache.iterdir())) == 1, "one library and nothing half done"


@needs_gcc
def test_without_a_place_to_keep_them_the_kernels_are_built_for_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    assert load_library().seodang_linear
    assert list((tmp_path / "temporary").iterdir()) == []


@needs_gcc
def test_a_damaged_library_is_an_error_that_names_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_library()
    (kept,) = cache.iterdir()
    other = tmp_path / "other" / "seodang" / kept.name
    other.parent.mkdir(parents=True)
    other.write_bytes(b"torn")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(NoKernels, match=str(other)):
        load_library()


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoKernels, match="there is no C compiler; install gcc"):
        load_library()


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(("compiler", "told"), [("false", "cannot compile"), ("no-such-compiler", "variable CC")])
def test_a_compiler_that_fails_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, compiler: str, told: str
) -> None:
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(NoKernels, match=f"{compiler} .*{told}"):
        load_library()
