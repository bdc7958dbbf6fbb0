"""The error tree as HTTP answers in OpenAI's form: ``{"error": {"message", "type", "param", "code"}}``."""

import math
from http import HTTPStatus
from typing import Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from seodang.base import errors

_SHOWN_FAULTS: Final = 3


class BodyTooLarge(errors.InvalidInput):
    """The request's body is larger than the gateway takes."""

    default_reason = "BODY_TOO_LARGE"


class ModelNotFound(errors.NotFound):
    """No server of the mesh holds the model."""

    default_reason = "MODEL_NOT_FOUND"


# The first class that fits decides. OpenAI's clients try again after 409, 429 and 5xx, and after nothing else.
_TABLE: Final[tuple[tuple[type[errors.SeodangError], int, str], ...]] = (
    (BodyTooLarge, 413, "invalid_request_error"),
    (errors.InvalidInput, 400, "invalid_request_error"),
    (errors.Unsupported, 400, "invalid_request_error"),
    (errors.Unauthenticated, 401, "authentication_error"),
    (errors.PermissionDenied, 403, "permission_error"),
    (errors.NotFound, 404, "invalid_request_error"),
    (errors.AlreadyExists, 409, "conflict_error"),
    (errors.Conflict, 409, "conflict_error"),
    (errors.Exhausted, 429, "rate_limit_error"),
    (errors.Unavailable, 503, "service_unavailable_error"),
    (errors.DeadlineExpired, 504, "timeout_error"),
    (errors.SeodangError, 500, "server_error"),
)


def status_of(error: errors.SeodangError) -> int:
    """The HTTP status that stands for an error."""
    return next(status for kind, status, _ in _TABLE if isinstance(error, kind))


def body_of(error: errors.SeodangError) -> dict[str, object]:
    """The error as OpenAI's JSON."""
    kind = next(name for tree, _, name in _TABLE if isinstance(error, tree))
    field = error.field.rpartition(".")[2] if isinstance(error, errors.InvalidInput) else ""
    return {"error": {"message": error.message, "type": kind, "param": field or None, "code": error.reason.lower()}}


def answer(error: errors.SeodangError) -> JSONResponse:
    """The error as a whole HTTP answer, with ``Retry-After`` where trying again may help."""
    headers = {}
    if isinstance(error, errors.Retriable):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
        headers["Retry-After-Ms"] = str(math.ceil(1000 * error.retry_after_s))
    if isinstance(error, errors.Unauthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(body_of(error), status_of(error), headers)


def install(app: FastAPI) -> None:
    """Lets every refusal of the app leave in OpenAI's form."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, errors.SeodangError)
        return answer(error)

    async def malformed(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(_invalid(error))

    async def unroutable(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return _unroutable(request, error)

    app.add_exception_handler(errors.SeodangError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, unroutable)


def _invalid(error: RequestValidationError) -> errors.InvalidInput:
    faults = error.errors()
    shown = "; ".join(_explained(fault) for fault in faults[:_SHOWN_FAULTS])
    more = f"; and {len(faults) - _SHOWN_FAULTS} more" if len(faults) > _SHOWN_FAULTS else ""
    first = faults[0]
    reason = "UNKNOWN_FIELD" if first["type"] == "extra_forbidden" else "INVALID_INPUT"
    return errors.InvalidInput(shown + more, field=_path(first), reason=reason)


def _explained(fault: dict[str, object]) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return f"{_path(fault)}: this field is not supported; remove it"
        case "missing":
            return f"{_path(fault) or 'body'}: required, and missing"
        case "json_invalid":
            context = fault.get("ctx")
            return f"the body is not JSON: {context.get('error') if isinstance(context, dict) else fault['msg']}"
        case _:
            return f"{_path(fault) or 'body'}: {fault['msg']} (got {_short(fault.get('input'))})"


def _path(fault: dict[str, object]) -> str:
    where = fault["loc"]
    assert isinstance(where, tuple)
    return ".".join(str(part) for part in where if part != "body") if fault["type"] != "json_invalid" else ""


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unroutable(request: Request, error: HTTPException) -> JSONResponse:
    cause = f": {error.__cause__}" if error.__cause__ else ""
    message = {
        HTTPStatus.NOT_FOUND: f"no such path: {request.method} {request.url.path}; /docs lists what there is",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not allowed on {request.url.path}; /docs lists what is",
    }.get(HTTPStatus(error.status_code), f"{error.detail}{cause}")
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return JSONResponse({"error": body}, error.status_code, error.headers)
