"""Every request has an id, is counted, timed and logged, and never ends without an answer."""

import logging
import re
import time
import uuid
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from seodang.base.errors import InternalFault, InvalidInput, SeodangError
from seodang.gateway import failures
from seodang.gateway.metrics import Metrics

log = logging.getLogger(__name__)

REQUEST_ID: Final = "x-request-id"
_ID = re.compile(r"[\x21-\x7e]{1,128}")
# The probes of a balancer, once a second and more, would drown the log.
_QUIET: Final = {"/healthz", "/readyz", "/metrics"}


class Ledger:
    """The outermost layer. Prompts and answers are never logged, and neither are keys: only their names."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began_s = time.perf_counter()
        status = 0
        given = Headers(scope=scope).get(REQUEST_ID)
        request_id = given if given and _ID.fullmatch(given) else uuid.uuid4().hex

        async def stamped_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        scope["seodang.request_id"] = request_id
        try:
            if given is not None and given != request_id:
                await failures.answer(_bad_id(given))(scope, receive, stamped_send)
            else:
                await self._app(scope, receive, stamped_send)
        except Exception as error:  # the edge: whatever is raised becomes an answer
            fault = _as_fault(error, request_id)
            if status:  # too late for a status: cutting the connection is the only way left to say it
                raise
            await failures.answer(fault)(scope, receive, stamped_send)
        finally:
            self._record(scope, status, time.perf_counter() - began_s)

    def _record(self, scope: Scope, status: int, took_s: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        self._metrics.requests.labels(route, str(status or "abandoned")).inc()
        self._metrics.request_seconds.labels(route).observe(took_s)
        level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
        log.log(
            level, "%s %r %s %.0f ms id=%s caller=%s", scope["method"], scope["path"], status or "abandoned",
            1000 * took_s, scope["seodang.request_id"], scope.get("seodang.caller", "-"),
        )  # fmt: skip


def _bad_id(given: str) -> InvalidInput:
    return InvalidInput(f"{REQUEST_ID}={given[:140]!r} must be 1 to 128 visible ASCII characters", field=REQUEST_ID)


def _as_fault(error: Exception, request_id: str) -> SeodangError:
    if isinstance(error, SeodangError):
        return error
    log.error("request %s failed", request_id, exc_info=error)
    return InternalFault(f"the gateway met a fault of its own; its log has the details under request id {request_id}")
