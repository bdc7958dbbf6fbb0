"""The files of a student's folder: which are the student, which say where it comes from, and their digests."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from seodang.base.errors import NotFound
from seodang.distillation.spec import Record

CARD: Final = "README.md"
LINEAGE: Final = "lineage.json"
JOB: Final = "job.json"
FIDELITY: Final = "fidelity.json"
FIDELITY_PAGE: Final = "fidelity.html"
PUBLIC_KEY: Final = "signer.pem"
SIGNATURE: Final = "model.sig"
RECORD: Final = "record.json"
"""What `seodang students` keeps of a job beside a student that it downloaded."""

ATTESTED: Final = (CARD, LINEAGE, JOB, FIDELITY, FIDELITY_PAGE, PUBLIC_KEY)
"""Written when a student is attested; signed like the student itself."""
UNSIGNED: Final = (SIGNATURE, RECORD)
"""What the signature does not cover: itself, and the record, which must agree with what is signed."""


class StudentFile(Record, frozen=True, kw_only=True):
    """One file; ``path`` is relative, with forward slashes."""

    path: str
    bytes: int
    sha256: str


def student_files(folder: Path) -> tuple[StudentFile, ...]:
    """What the job measured, in order of path: every file but those that only tell of the student.

    Raises:
        NotFound: there is no such folder.
    """
    if not folder.is_dir():
        raise NotFound(f"no folder at {folder}: name the folder of a student")
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return tuple(_read(folder, path) for path in paths if path not in (*ATTESTED, *UNSIGNED))


def files_sha256(files: Iterable[StudentFile]) -> str:
    """SHA-256 over the files in order of path, each as the line that ``sha256sum`` prints for it."""
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256(lines.encode()).hexdigest()


def differences(expected: Sequence[StudentFile], actual: Sequence[StudentFile]) -> list[str]:
    """Each file that is missing, has other content, or is not expected, in words."""
    before = {file.path: file.sha256 for file in expected}
    after = {file.path: file.sha256 for file in actual}
    return digest_differences(before, after)


def digest_differences(expected: dict[str, str], actual: dict[str, str]) -> list[str]:
    """The same for paths with their digests."""
    missing = [f"{path} is missing" for path in sorted(expected.keys() - actual.keys())]
    changed = [
        f"{path} has sha256 {actual[path][:12]}…, not {expected[path][:12]}…"
        for path in sorted(expected.keys() & actual.keys())
        if expected[path] != actual[path]
    ]
    strange = [f"{path} is not part of it" for path in sorted(actual.keys() - expected.keys())]
    return [*changed, *missing, *strange]


def _read(folder: Path, path: str) -> StudentFile:
    with (folder / path).open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return StudentFile(path=path, bytes=stream.tell(), sha256=digest)
