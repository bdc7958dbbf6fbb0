"""A finished student with its model card, lineage and signature, beside the job that made it: what is published."""

import os
import shutil
from pathlib import Path

from seodang.distillation import JobFolder, read_spec
from seodang.distillation.folder import sync_folder
from seodang.provenance import SigningKey, attest


def attested_student(job: JobFolder, key: SigningKey) -> Path:
    """``JOB_DIR/published/STUDENT``: made once and whole, since no two signatures over the same files are equal.

    Raises:
        Conflict: the student or the job is not the one that was measured.
        InvalidInput: the student holds something other than files and folders.
    """
    published = job.root / "published"
    name = read_spec(job.spec).student
    if not published.exists():
        partial = job.root / ".published.partial"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(job.student.resolve(), partial / name, symlinks=True, copy_function=_link_or_copy)
        attest(partial / name, job, key)
        for folder in (path for path in (partial, *partial.rglob("*")) if path.is_dir()):
            sync_folder(folder)
        partial.rename(published)
        sync_folder(job.root)
    return published / name


def _link_or_copy(source: str, target: str) -> None:
    """The same bytes again, at no cost where the file system knows hard links."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copyfile(source, target)
        with Path(target).open("rb") as copied:
            os.fsync(copied.fileno())
