"""``lineage.json``: what made a student and how it was judged, as a machine reads it."""

from pathlib import Path
from typing import Final, Literal

import msgspec

from seodang.base.errors import Conflict, NotFound
from seodang.distillation.folder import write_whole
from seodang.distillation.result import Cost, Lineage, Measurement, Verdict
from seodang.distillation.spec import Record
from seodang.provenance.files import LINEAGE, StudentFile

FORMAT: Final = "seodang-lineage/1"


class Provenance(Record, frozen=True, kw_only=True):
    """Everything that is claimed of one student."""

    format: Literal["seodang-lineage/1"] = FORMAT
    student: str
    """Its name in the registry, without version."""
    job: str
    """"jobs/{job}"; what it was told to do is in job.json beside."""
    lineage: Lineage
    measurements: tuple[Measurement, ...]
    """Teacher, student, then each baseline."""
    verdict: Verdict
    cost: Cost
    files: tuple[StudentFile, ...]
    """The files that ``lineage.student_sha256`` is over."""


def write_provenance(folder: Path, provenance: Provenance) -> None:
    """Writes the folder's lineage.json."""
    # The default of ``format`` is written too: a file says what it is.
    write_whole(folder / LINEAGE, msgspec.json.format(msgspec.json.encode(provenance), indent=2) + b"\n")


def read_provenance(folder: Path) -> Provenance:
    """Reads the folder's lineage.json.

    Raises:
        NotFound: there is none.
        Conflict: it is none of this version.
    """
    path = folder / LINEAGE
    try:
        return msgspec.json.decode(path.read_bytes(), type=Provenance)
    except FileNotFoundError:
        raise NotFound(
            f"there is no {path}: the student does not say what made it. It was published before students did, or it "
            "is no student of this platform"
        ) from None
    except msgspec.DecodeError as error:
        raise Conflict(f"{path} is no lineage of this version ({error}): it was edited, or made by a newer one") from (
            error
        )
