"""Makes a finished student say where it comes from, and signs that: model card, lineage, job and signature."""

import hashlib
from pathlib import Path

from seodang.base.errors import Conflict, NotFound
from seodang.distillation.events import read_events
from seodang.distillation.folder import JobFolder, write_whole
from seodang.distillation.result import JobResult, read_result
from seodang.distillation.spec import decode_spec, encode_spec, read_spec
from seodang.provenance.card import render_card
from seodang.provenance.fidelity import fidelity_report, write_report
from seodang.provenance.files import CARD, JOB, PUBLIC_KEY, StudentFile, differences, files_sha256, student_files
from seodang.provenance.keys import SigningKey
from seodang.provenance.record import Provenance, write_provenance
from seodang.provenance.signature import sign


def attest(student: Path, job: JobFolder, key: SigningKey) -> Provenance:
    """Writes card, lineage.json, job.json, fidelity report and public key into a student's folder; signs all of it.

    Args:
        student: the files that the job measured, or a copy. Doing it again replaces what an earlier call wrote.
        job: the folder of the finished job, named by the job's id.
        key: whose signature it becomes.

    Raises:
        NotFound: there is no folder of the student, or the job has no result.
        Conflict: the student is not the one that was measured, or the job is not the one that made it.
    """
    if not job.result.is_file():
        raise NotFound(f"there is no {job.result}: the job is not done, or its folder is elsewhere")
    result = read_result(job.result)
    files = student_files(student)
    if files_sha256(files) != result.lineage.student_sha256:
        raise Conflict(
            f"{student} is not the student that {job.result} measured{_which(job, files)}: resume the job from a copy "
            "of its folder, or distil again",
            reason="STUDENT_CHANGED",
        )
    spec_json = _checked_spec(job, result)
    spec = decode_spec(spec_json)
    provenance = Provenance(
        student=spec.student,
        job=f"jobs/{job.root.name}",
        lineage=result.lineage,
        measurements=result.measurements,
        verdict=result.verdict,
        cost=result.cost,
        files=files,
    )
    write_whole(student / JOB, spec_json)
    write_provenance(student, provenance)
    write_whole(student / CARD, render_card(provenance, spec).encode())
    write_report(student, fidelity_report(provenance, spec, read_events(job.events)[0]))
    write_whole(student / PUBLIC_KEY, key.public.pem)
    sign(student, key)
    return provenance


def _checked_spec(job: JobFolder, result: JobResult) -> bytes:
    """The job's specification in the bytes that the lineage has the digest of."""
    # A worker of a later version than the server's that wrote the file knows more fields, and took the digest with
    # their defaults.
    written, resolved = job.spec.read_bytes(), encode_spec(read_spec(job.spec))
    for spec in (written, resolved):
        if hashlib.sha256(spec).hexdigest() == result.lineage.spec_sha256:
            return spec
    raise Conflict(
        f"{job.spec} is not the job that made the student: the sha256 of that was {result.lineage.spec_sha256}; "
        "restore the file, or distil again",
        reason="JOB_CHANGED",
    )


def _which(job: JobFolder, files: tuple[StudentFile, ...]) -> str:
    """The files that differ from the job's own copy, where that still lies there."""
    if not job.student.is_dir():
        return ""
    changed = differences(student_files(job.student), files)
    return f" ({', '.join(changed)})" if changed else ""
