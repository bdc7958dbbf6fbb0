"""The whole chain behind a student, checked offline: signature, files, student, tokenizer, job, record, teacher."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from seodang.base.errors import SeodangError
from seodang.distillation.result import Lineage
from seodang.distillation.spec import JobSpec, decode_spec
from seodang.distillation.tokenizer_files import tokenizer_sha256
from seodang.provenance.fidelity import read_report
from seodang.provenance.files import (
    FIDELITY,
    FIDELITY_PAGE,
    JOB,
    LINEAGE,
    PUBLIC_KEY,
    RECORD,
    SIGNATURE,
    differences,
    files_sha256,
    student_files,
)
from seodang.provenance.keys import PublicKey
from seodang.provenance.record import Provenance, read_provenance
from seodang.provenance.recorded import disagreements, read_record
from seodang.provenance.signature import SignedFiles, check_signature


class Outcome(StrEnum):
    """What came of a check."""

    HOLDS = "holds"
    FAILS = "fails"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Check:
    """One link of the chain. ``found`` is in words; of a check that fails it names the file and what differs."""

    name: str
    outcome: Outcome
    found: str


@dataclass(frozen=True)
class TeacherFolder:
    """A teacher at hand, as its server would identify it."""

    folder: Path
    weights_sha256: str
    tokenizer_sha256: str


def check_student(
    folder: Path, trusted_key: Path | None = None, teacher: TeacherFolder | None = None
) -> tuple[Check, ...]:
    """Every check, in the order of the chain; one that fails does not keep the next from being made.

    Args:
        folder: a student, as it was published or bundled.
        trusted_key: the public key of whoever must have signed it; None takes the key that lies beside the student,
            which shows that the folder is whole but not whose it is.
        teacher: the teacher that the student is said to come from, if it is at hand.
    """
    checks = _signature(folder, trusted_key)
    try:
        provenance = read_provenance(folder)
    except SeodangError as error:
        return (*checks, _failed("lineage", error.message))
    spec = _decoded_job(folder)
    checks += [
        _made("student", lambda: _student(folder, provenance)),
        _made("tokenizer", lambda: _tokenizer(folder, provenance.lineage)),
        _made("job", lambda: _job(folder, provenance)),
        _made("fidelity", lambda: _fidelity(folder, provenance)),
        _made("record", lambda: _record(folder, provenance, spec)),
    ]
    if teacher is None:
        return (*checks, Check("teacher", Outcome.SKIPPED, "not compared: no teacher's folder was given"))
    return (*checks, _made("teacher", lambda: _teacher(teacher, provenance.lineage)))


def _signature(folder: Path, trusted_key: Path | None) -> list[Check]:
    if not (folder / SIGNATURE).is_file():
        return [_failed("signature", f"unsigned: there is no {SIGNATURE} in {folder}")]
    if trusted_key is None and not (folder / PUBLIC_KEY).is_file():
        return [_failed("signature", f"there is no {PUBLIC_KEY} in {folder}: name the key that you trust")]
    key = trusted_key or folder / PUBLIC_KEY
    try:
        signed = check_signature(folder, key)
        fingerprint = PublicKey.read(key).fingerprint[:16]
    except SeodangError as error:
        return [_failed("signature", error.message)]
    whose = f"by the trusted key {fingerprint}"
    if trusted_key is None:
        whose = f"by key {fingerprint}, which lies beside it: this tells that nothing changed, not who signed"
    return [Check("signature", Outcome.HOLDS, whose), _made("files", lambda: _files(signed))]


def _files(signed: SignedFiles) -> Check:
    if signed.differences:
        return _failed("files", "; ".join(signed.differences))
    return _holds("files", f"all {signed.files} as they were signed")


def _student(folder: Path, provenance: Provenance) -> Check:
    if changed := differences(provenance.files, student_files(folder)):
        return _failed("student", f"not the student of {LINEAGE}: {'; '.join(changed)}")
    claimed, listed = provenance.lineage.student_sha256, files_sha256(provenance.files)
    if claimed != listed:
        return _failed("student", f"{LINEAGE} says student_sha256 {claimed[:12]}…, but its files make {listed[:12]}…")
    return _holds("student", f"the one that was measured, {claimed[:16]}")


def _tokenizer(folder: Path, lineage: Lineage) -> Check:
    teacher = lineage.teachers[0]
    expected = lineage.student_tokenizer_sha256 or teacher.tokenizer_sha256
    whose = "its own" if lineage.student_tokenizer_sha256 else f"that of {teacher.model}"
    found = tokenizer_sha256(folder)
    if found != expected:
        owner = "the student" if lineage.student_tokenizer_sha256 else teacher.model
        return _failed(
            "tokenizer",
            f"the tokenizer files make {found[:12]}…, but {LINEAGE} says that {owner} had {expected[:12]}…",
        )
    return _holds("tokenizer", f"{whose}, {found[:16]}")


def _job(folder: Path, provenance: Provenance) -> Check:
    path, claimed = folder / JOB, provenance.lineage.spec_sha256
    if not path.is_file():
        return _failed("job", f"there is no {path}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != claimed:
        return _failed("job", f"{JOB} has sha256 {found[:12]}…, but {LINEAGE} says {claimed[:12]}…")
    return _holds("job", f"{provenance.job}, {found[:16]}")


def _fidelity(folder: Path, provenance: Provenance) -> Check:
    if not (folder / FIDELITY).is_file():
        return Check("fidelity", Outcome.SKIPPED, f"there is no {FIDELITY}")
    report = read_report(folder)
    pairs = {
        "student_sha256": (report.student_sha256, provenance.lineage.student_sha256),
        "measurements": (report.measurements, provenance.measurements),
        "cost": (report.cost, provenance.cost),
    }
    if different := [name for name, (told, signed) in pairs.items() if told != signed]:
        return _failed("fidelity", f"{FIDELITY} says something else than {LINEAGE}: {', '.join(different)}")
    return _holds("fidelity", f"{FIDELITY_PAGE} and {FIDELITY} are of what was measured")


def _record(folder: Path, provenance: Provenance, spec: JobSpec | None) -> Check:
    path = folder / RECORD
    if not path.is_file():
        return Check("record", Outcome.SKIPPED, f"there is no {RECORD}")
    if spec is None:
        return _failed("record", f"{RECORD} cannot be compared: {JOB} cannot be read")
    if different := disagreements(read_record(path), provenance, spec):
        return _failed("record", f"{RECORD} is not the job that is signed: {'; '.join(different)}")
    return _holds("record", f"{RECORD} says what is signed")


def _teacher(teacher: TeacherFolder, lineage: Lineage) -> Check:
    for candidate in lineage.teachers:
        if candidate.weights_sha256 == teacher.weights_sha256:
            if candidate.tokenizer_sha256 == teacher.tokenizer_sha256:
                return _holds("teacher", f"{teacher.folder} is {candidate.model}, {candidate.weights_sha256[:16]}")
            return _failed(
                "teacher",
                f"{teacher.folder} has the weights of {candidate.model}, but a tokenizer or chat template that makes "
                f"{teacher.tokenizer_sha256[:12]}…, not {candidate.tokenizer_sha256[:12]}…",
            )
    known = ", ".join(f"{each.model} {each.weights_sha256[:12]}…" for each in lineage.teachers)
    return _failed(
        "teacher", f"the weights in {teacher.folder} make {teacher.weights_sha256[:12]}…, taught has {known}"
    )


def _decoded_job(folder: Path) -> JobSpec | None:
    try:
        return decode_spec((folder / JOB).read_bytes())
    except (OSError, SeodangError):
        return None


def _made(name: str, check: Callable[[], Check]) -> Check:
    """A check that cannot even be made fails."""
    try:
        return check()
    except SeodangError as error:
        return _failed(name, error.message)


def _holds(name: str, found: str) -> Check:
    return Check(name, Outcome.HOLDS, found)


def _failed(name: str, found: str) -> Check:
    return Check(name, Outcome.FAILS, found)
