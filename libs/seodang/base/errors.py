"""The error tree of the whole platform.

    SeodangError
    ├── InvalidInput          the caller sent something that can never work; carries the field
    ├── NotFound              the named resource does not exist
    ├── AlreadyExists         the named resource exists and differs from the request
    ├── Conflict              the resource is in a state that forbids the request
    │   └── Superseded        it has changed since the caller read it
    ├── Exhausted             full for the moment; carries when to try again
    ├── Unavailable           not able to answer now; safe to retry
    ├── DeadlineExpired       the time the caller allowed is over
    ├── PermissionDenied      the caller may not do this
    ├── Unauthenticated       the caller did not prove who it is
    ├── Unsupported           a valid request that this server cannot serve
    └── InternalFault         our bug; the text is for our logs and a bug report

Raise these anywhere; ``seodang.rpc.status`` maps them to gRPC statuses at the edge and back in the client.
The text of an error says what happened, the value, and what to do.
"""

from typing import ClassVar


class SeodangError(Exception):
    """Base of every error that may cross a service's door.

    Args:
        message: what happened, the value, and what to do.
        reason: UPPER_SNAKE_CASE machine-readable cause; the class gives a default.
        metadata: short key-value facts for programs, such as ``{"model": "models/x"}``.
    """

    default_reason: ClassVar[str] = "INTERNAL_FAULT"

    def __init__(self, message: str, *, reason: str | None = None, metadata: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.metadata = dict(metadata or {})


class InvalidInput(SeodangError):
    """The request can never work as sent; ``field`` is the dotted path of the offending field, if one is known."""

    default_reason = "INVALID_INPUT"

    def __init__(
        self, message: str, *, field: str = "", reason: str | None = None, metadata: dict[str, str] | None = None
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.field = field


class NotFound(SeodangError):
    """The named resource does not exist."""

    default_reason = "NOT_FOUND"


class AlreadyExists(SeodangError):
    """A resource of that name exists and differs from what was asked for."""

    default_reason = "ALREADY_EXISTS"


class Conflict(SeodangError):
    """The resource is in a state that forbids the request."""

    default_reason = "CONFLICT"


class Superseded(Conflict):
    """The resource has changed since the caller read it: read it again and decide anew."""

    default_reason = "SUPERSEDED"


class Retriable(SeodangError):
    """Base of the errors that a caller may answer by trying again, after ``retry_after_s`` seconds."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float = 1.0,
        reason: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_s = retry_after_s


class Exhausted(Retriable):
    """A limit is reached for the moment: queue, memory or quota."""

    default_reason = "EXHAUSTED"


class Unavailable(Retriable):
    """The server cannot answer now: starting, draining, or its ranks are restarting."""

    default_reason = "UNAVAILABLE"


class DeadlineExpired(SeodangError):
    """The time that the caller allowed is over."""

    default_reason = "DEADLINE_EXPIRED"


class PermissionDenied(SeodangError):
    """The caller is known and may not do this."""

    default_reason = "PERMISSION_DENIED"


class Unauthenticated(SeodangError):
    """The caller did not prove who it is."""

    default_reason = "UNAUTHENTICATED"


class Unsupported(SeodangError):
    """A valid request that this server cannot serve; ``GetModel`` tells what it can."""

    default_reason = "UNSUPPORTED"


class InternalFault(SeodangError):
    """A fault of ours."""

    default_reason = "INTERNAL_FAULT"
