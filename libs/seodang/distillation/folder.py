"""The job folder: the border between whoever runs jobs and this library.

    JOB_DIR/
    ├── job.json          the resolved JobSpec (spec.py). Written by the runner before the first start; never changes
    ├── job.lock          held (flock) by the process at work, so that there is only one
    ├── events.jsonl      state, progress, curve points, measurements (events.py); append-only
    ├── tokenizer/        the teacher's tokenizer and chat template, fetched once
    ├── own-tokenizer/    the students' own, copied once, if they have another
    ├── data/             the examples, frozen: train, dev and eval as JSON lines, with manifest.json
    ├── targets/          the teacher's signal: one target store a recipe
    ├── training/         SUBJECT/step-00000050.safetensors: durable checkpoints; of several ranks, folders;
    │                     of on_policy also rollouts
    ├── students/         SUBJECT/: a finished student or baseline, a transformers folder
    ├── evaluation/       SUBJECT/: answers and measurements of one contestant
    ├── student           → students/student, the product
    ├── result.json       JobResult (result.py). Its existence means: the job is done
    └── fault.json        FaultRecord (fault.py): why the last process gave up; removed by the next start

``python -m seodang.distillation JOB_DIR`` does the whole job. It may be killed at any moment and started again on the
same folder: each file above appears whole (written beside, synced, renamed) and what is there is not made again.

Exit status 0: result.json is there. 1: fault.json says why, and whether starting again may help. Anything else: the
process died, start it again. It handles no signals: to stop it is to kill it. A job of several ranks is done by as many
processes, which end with the one that started them (launching.py).
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seodang.base.errors import Conflict

EXIT_DONE = 0
EXIT_FAULT = 1


@dataclass(frozen=True)
class JobFolder:
    """Where each part of a job lies. Making one touches nothing on disk."""

    root: Path

    @property
    def spec(self) -> Path:
        """job.json."""
        return self.root / "job.json"

    @property
    def events(self) -> Path:
        """events.jsonl."""
        return self.root / "events.jsonl"

    @property
    def tokenizer(self) -> Path:
        """The teacher's tokenizer files."""
        return self.root / "tokenizer"

    @property
    def own_tokenizer(self) -> Path:
        """The tokenizer files of students that have another than the teacher."""
        return self.root / "own-tokenizer"

    @property
    def data(self) -> Path:
        """The frozen examples."""
        return self.root / "data"

    @property
    def result(self) -> Path:
        """result.json."""
        return self.root / "result.json"

    @property
    def fault(self) -> Path:
        """fault.json."""
        return self.root / "fault.json"

    @property
    def student(self) -> Path:
        """The finished student; there once result.json is."""
        return self.root / "student"

    def targets(self, name: str) -> Path:
        """One target store."""
        return self.root / "targets" / name

    def target_folders(self) -> list[Path]:
        """All target stores that are there."""
        folder = self.root / "targets"
        return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []

    def training(self, subject: str) -> Path:
        """Checkpoints of one subject."""
        return self.root / "training" / subject

    def finished(self, subject: str) -> Path:
        """The finished model of one subject."""
        return self.root / "students" / subject

    def evaluation(self, subject: str) -> Path:
        """Answers and measurements of one contestant."""
        return self.root / "evaluation" / subject

    def link_student(self) -> None:
        """Makes ``student`` lead to the finished student."""
        beside = self.root / ".student.partial"
        beside.unlink(missing_ok=True)
        beside.symlink_to(self.finished("student").relative_to(self.root))
        beside.replace(self.student)
        sync_folder(self.root)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the folder for this process.

        Raises:
            Conflict: another process is at work in it.
        """
        with (self.root / "job.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(
                    f"another process is at work in {self.root}: wait for it or stop it", reason="JOB_RUNNING"
                ) from error
            yield


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that it is seen either as before or whole, and survives a power cut once this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    sync_folder(path.parent)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to be filled beside ``path``, which takes its place, synced, if the block ends well."""
    beside = path.with_name(f".{path.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    yield beside
    for inside in [*beside.rglob("*"), beside]:
        if inside.is_dir():
            sync_folder(inside)
        else:
            with inside.open("rb") as written:
                os.fsync(written.fileno())
    beside.replace(path)
    sync_folder(path.parent)


def folder_sha256(folder: Path, pattern: str = "*") -> str:
    """SHA-256 over the files in order of path, each as the line that ``sha256sum`` prints for it."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob(pattern) if path.is_file())
    lines = "".join(f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  {path}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def sync_folder(folder: Path) -> None:
    """Makes renames inside ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
