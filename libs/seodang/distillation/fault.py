"""Why a job's process gave up: ``fault.json``, an error of the platform's tree that outlives its process."""

import traceback
from pathlib import Path

import msgspec

from seodang.base import errors
from seodang.distillation.folder import write_whole
from seodang.distillation.spec import Record

_KINDS: dict[str, type[errors.SeodangError]] = {
    kind.__name__: kind
    for kind in (
        errors.InvalidInput,
        errors.NotFound,
        errors.AlreadyExists,
        errors.Conflict,
        errors.Exhausted,
        errors.Unavailable,
        errors.DeadlineExpired,
        errors.PermissionDenied,
        errors.Unauthenticated,
        errors.Unsupported,
        errors.InternalFault,
    )
}


class FaultRecord(Record, frozen=True, kw_only=True):
    """An error as it lies in the folder."""

    kind: str
    """Name of the class in ``seodang.base.errors``."""
    message: str
    reason: str
    metadata: dict[str, str]
    retriable: bool
    """Whether starting the job again, later, may help without a change."""
    details: str = ""
    """Traceback of a fault of ours, for a bug report."""

    def error(self) -> errors.SeodangError:
        """The error again."""
        return _KINDS[self.kind](self.message, reason=self.reason, metadata=self.metadata)


def write_fault(path: Path, error: Exception) -> FaultRecord:
    """Writes fault.json; an error outside the tree becomes an InternalFault with its traceback."""
    details = ""
    if not isinstance(error, errors.SeodangError):
        details = "".join(traceback.format_exception(error))
        error = errors.InternalFault(f"the job met a fault of ours, {type(error).__name__}: {error}")
    kind = next((name for name, known in _KINDS.items() if isinstance(error, known)), "InternalFault")
    record = FaultRecord(
        kind=kind,
        message=error.message,
        reason=error.reason,
        metadata=error.metadata,
        retriable=isinstance(error, errors.Retriable | errors.DeadlineExpired),
        details=details,
    )
    write_whole(path, msgspec.json.format(msgspec.json.encode(record), indent=2))
    return record


def read_fault(path: Path) -> FaultRecord:
    """Reads fault.json.

    Raises:
        Conflict: it is not a fault record.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=FaultRecord)
    except msgspec.DecodeError as error:
        raise errors.Conflict(f"{path} is no fault record: {error}") from error
