"""Errors of the tree as ``Failed`` messages, and back: typed on both sides of the socket."""

import inspect

from seodang.base import errors
from seodang.base.errors import InternalFault, InvalidInput, Retriable, SeodangError
from seodang.worker.messages import Failed

_KINDS: dict[str, type[SeodangError]] = {
    name: kind for name, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, SeodangError)
}


def to_failed(request_id: str, error: Exception) -> Failed:
    """Describe ``error``; anything outside the tree is a fault of ours and becomes ``InternalFault``."""
    if not isinstance(error, SeodangError):
        error = InternalFault(f"{type(error).__name__}: {error}; this is a bug, please report it with the worker's log")
    return Failed(
        request_id=request_id,
        kind=next(kind.__name__ for kind in type(error).__mro__ if kind.__name__ in _KINDS),
        message=error.message,
        reason=error.reason,
        metadata=error.metadata,
        field=error.field if isinstance(error, InvalidInput) else "",
        retry_after_s=error.retry_after_s if isinstance(error, Retriable) else 0.0,
    )


def from_failed(failed: Failed) -> SeodangError:
    """Rebuild the error that ``to_failed`` described."""
    kind = _KINDS.get(failed.kind, InternalFault)
    if issubclass(kind, InvalidInput):
        return kind(failed.message, field=failed.field, reason=failed.reason, metadata=failed.metadata)
    if issubclass(kind, Retriable):
        return kind(failed.message, retry_after_s=failed.retry_after_s, reason=failed.reason, metadata=failed.metadata)
    return kind(failed.message, reason=failed.reason, metadata=failed.metadata)
