"""Compile ``kernels.c`` for this machine, once: the library is kept in the user's cache by what went into it."""

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import torch

from seodang.runtime.attention import BLOCK_TOKENS

SOURCE: Final = Path(__file__).with_name("kernels.c")
HEADERS: Final = tuple(SOURCE.with_name(name) for name in ("weights.h", "tiles.h", "scores.h"))
COMPILE: Final = (
    *("-std=gnu11", "-O3", "-march=native", "-ffast-math", "-fopenmp", "-fPIC", "-Wno-psabi"),
    f"-DBLOCK={BLOCK_TOKENS}",
)
COMPILE_TIMEOUT_S: Final = 60.0


class NoKernels(Exception):
    """The kernels cannot be compiled or loaded here; the text says why and what would help."""


def load_library() -> ctypes.CDLL:
    """The compiled kernels, built if this user has not built the same before. ``NoKernels`` if they cannot be had."""
    compiler = _compiler()
    folder = _cache_folder()
    kept = folder / f"kernels-{_key(compiler)}.so" if folder else None
    if kept and kept.exists():
        return _open(kept)
    try:
        with tempfile.TemporaryDirectory(dir=folder) as workshop:
            built = _build(compiler, Path(workshop))
            # Another process may have been as quick: both made the same, and a rename is never seen half done.
            return _open(built.replace(kept) if kept else built)
    except OSError as error:
        raise NoKernels(f"nowhere to put the compiled kernels: {error}; name a folder in XDG_CACHE_HOME") from error


def _compiler() -> list[str]:
    chosen = os.environ.get("CC") or shutil.which("gcc") or shutil.which("cc")
    if not chosen:
        raise NoKernels("there is no C compiler; install gcc (Debian and Ubuntu: apt install gcc libc6-dev)")
    return shlex.split(chosen)


def _build(compiler: list[str], folder: Path) -> Path:
    compiled, linked = folder / "kernels.o", folder / "kernels.so"
    # Two steps: with -ffast-math in the link, old gccs switch denormal numbers off for the whole process.
    _run([*compiler, *COMPILE, "-c", str(SOURCE), "-o", str(compiled)])
    _run([*compiler, "-shared", str(compiled), *_openmp(), "-lm", "-o", str(linked)])
    return linked


def _openmp() -> list[str]:
    """torch's own OpenMP runtime, so that our threads are its threads and heed its settings; else the system's."""
    own = sorted(Path(torch.__file__).parent.joinpath("lib").glob("libgomp*.so*"))
    return [str(own[0]), f"-Wl,-rpath,{own[0].parent}"] if own else ["-fopenmp"]


def _open(library: Path) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(str(library))
    except OSError as error:
        raise NoKernels(f"the compiled kernels cannot be loaded: {error}; they need gcc and its OpenMP") from error


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        told = [line for line in error.stderr.splitlines() if "error" in line] or error.stderr.splitlines()
        raise NoKernels(f"{command[0]} cannot compile {SOURCE.name}: {'; '.join(told[:2])}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoKernels(f"{command[0]} cannot be run: {error}; name a C compiler in the variable CC") from error
    return done.stdout


def _key(compiler: list[str]) -> str:
    """Of all that decides the machine code; the compiler's macros tell its version and this processor's features."""
    macros = _run([*compiler, *COMPILE, "-dM", "-E", "-x", "c", os.devnull])
    parts = (*(file.read_text() for file in (SOURCE, *HEADERS)), *compiler, *COMPILE, *_openmp(), macros)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _cache_folder() -> Path | None:
    """This user's own folder for what can be made again; None where they have none, or cannot write to it."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seodang"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    return folder if os.access(folder, os.W_OK) else None
