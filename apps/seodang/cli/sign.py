"""`seodang sign`: gives a student of a finished job its card, its lineage and a signature, where it lies."""

from pathlib import Path

from rich.console import Console

from seodang.base.errors import InvalidInput
from seodang.distillation import JobFolder
from seodang.provenance import SigningKey, attest, recorded_job


def sign_student(folder: Path, state: Path, job_id: str, key: Path | None, console: Console) -> None:
    """Attests the student in ``folder`` as the one that a job below ``state`` made.

    Raises:
        InvalidInput: the key is none, or nothing tells which job made the student.
        NotFound: there is no such student or job.
        Conflict: the job has no result, or another student.
    """
    job_id = job_id or recorded_job(folder).removeprefix("jobs/")
    if not job_id:
        raise InvalidInput(f"there is no record.json in {folder} that tells its job: name the job", field="job")
    signer = SigningKey.open(key) if key else SigningKey.open_or_make(state / "signing-key.pem")
    provenance = attest(folder, JobFolder((state / "jobs" / job_id).absolute()), signer)
    said = f"{folder} is signed as the student of {provenance.job}, by key {signer.public.fingerprint[:16]}."
    console.print(said, soft_wrap=True, markup=False)
