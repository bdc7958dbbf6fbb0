"""The error tree as gRPC statuses, and back. The only place that knows both."""

from collections.abc import Iterable
from typing import cast

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from seodang.api.types.v1 import fault_pb2
from seodang.base import errors

DOMAIN = "seodang"
# A status travels in trailers, of which gRPC takes 8 KiB, in three encodings. Beyond that the client would see
# RESOURCE_EXHAUSTED in the place of the error. Errors repeat what callers sent, so their length is the callers' choice.
_MESSAGE_BYTES = 1_200
_FACT_BYTES = 300

_CODES: tuple[tuple[type[errors.SeodangError], grpc.StatusCode], ...] = (
    (errors.InvalidInput, grpc.StatusCode.INVALID_ARGUMENT),
    (errors.NotFound, grpc.StatusCode.NOT_FOUND),
    (errors.AlreadyExists, grpc.StatusCode.ALREADY_EXISTS),
    (errors.Superseded, grpc.StatusCode.ABORTED),
    (errors.Conflict, grpc.StatusCode.FAILED_PRECONDITION),
    (errors.Exhausted, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (errors.Unavailable, grpc.StatusCode.UNAVAILABLE),
    (errors.DeadlineExpired, grpc.StatusCode.DEADLINE_EXCEEDED),
    (errors.PermissionDenied, grpc.StatusCode.PERMISSION_DENIED),
    (errors.Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (errors.Unsupported, grpc.StatusCode.UNIMPLEMENTED),
    (errors.InternalFault, grpc.StatusCode.INTERNAL),
)
_ERRORS = {code: error for error, code in _CODES} | {
    grpc.StatusCode.OUT_OF_RANGE: errors.InvalidInput,
}
_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}


def code_of(error: errors.SeodangError) -> grpc.StatusCode:
    """The status code that stands for an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.INTERNAL)


def to_status(error: errors.SeodangError) -> grpc.Status:
    """An error as a rich status: one ErrorInfo, BadRequest for a named field, RetryInfo when a retry may help."""
    text = _shortened(error.message, _MESSAGE_BYTES)
    facts = {key: _shortened(value, _FACT_BYTES) for key, value in error.metadata.items()}
    packed = [_packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=facts))]
    if isinstance(error, errors.InvalidInput) and error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=text)
        packed.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if isinstance(error, errors.Retriable):
        packed.append(_packed(error_details_pb2.RetryInfo(retry_delay=_duration(error.retry_after_s))))
    message = status_pb2.Status(code=code_of(error).value[0], message=text, details=packed)
    status: grpc.Status = rpc_status.to_status(message)
    return status


def from_rpc_error(error: grpc.RpcError) -> errors.SeodangError:
    """The error behind a failed call, with its reason, metadata, field and retry time where the server sent them."""
    code = error.code()
    message = error.details() or f"the call failed with {code.name} and no explanation"
    status = _rich_status(error)
    reason, metadata, field, retry_after_s = None, {}, "", 1.0
    for detail in status.details if status else ():
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry_after_s = _seconds(error_details_pb2.RetryInfo.FromString(detail.value).retry_delay)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            field = error_details_pb2.BadRequest.FromString(detail.value).field_violations[0].field
    return _build(code, message, reason, metadata, field, retry_after_s)


def to_fault(error: errors.SeodangError) -> fault_pb2.Fault:
    """An error as the terminal event of a stream that was accepted already."""
    fault = fault_pb2.Fault(
        code=code_of(error).value[0], message=error.message, reason=error.reason, metadata=error.metadata
    )
    if isinstance(error, errors.Retriable):
        fault.retry_after.CopyFrom(_duration(error.retry_after_s))
    return fault


def from_fault(fault: fault_pb2.Fault) -> errors.SeodangError:
    """The error behind the terminal event of a stream."""
    code = _BY_NUMBER.get(fault.code, grpc.StatusCode.INTERNAL)
    retry_after_s = _seconds(fault.retry_after) if fault.HasField("retry_after") else 1.0
    return _build(code, fault.message, fault.reason or None, dict(fault.metadata), "", retry_after_s)


def _build(
    code: grpc.StatusCode, message: str, reason: str | None, metadata: dict[str, str], field: str, retry_after_s: float
) -> errors.SeodangError:
    kind = _ERRORS.get(code, errors.InternalFault)
    if issubclass(kind, errors.InvalidInput):
        return kind(message, field=field, reason=reason, metadata=metadata)
    if issubclass(kind, errors.Retriable):
        return kind(message, retry_after_s=retry_after_s, reason=reason, metadata=metadata)
    return kind(message, reason=reason, metadata=metadata)


def _shortened(text: str, limit_bytes: int) -> str:
    """Without its middle where it is too long: an error begins with what happened and ends with what to do."""
    body = text.encode(errors="replace")
    if len(body) <= limit_bytes:
        return text
    half = limit_bytes // 2
    return f"{body[:half].decode(errors='ignore')} [...] {body[-half:].decode(errors='ignore')}"


def _rich_status(error: grpc.RpcError) -> status_pb2.Status | None:
    trailing = cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ())
    details = next((value for key, value in trailing if key == "grpc-status-details-bin"), None)
    return status_pb2.Status.FromString(details) if isinstance(details, bytes) else None


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _duration(seconds: float) -> duration_pb2.Duration:
    return duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def _seconds(duration: duration_pb2.Duration) -> float:
    return float(duration.seconds) + float(duration.nanos) / 1e9
