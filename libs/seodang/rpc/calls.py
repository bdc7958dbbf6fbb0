"""What every call of a server passes: it must have a deadline, it is counted, and its errors become statuses."""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import grpc
from grpc import aio

from seodang.base.errors import DeadlineExpired, InternalFault, InvalidInput, SeodangError, Unavailable, Unsupported
from seodang.rpc.received import tolerant, well_formed
from seodang.rpc.status import to_status

# gRPC's own class is generic for type checkers alone.
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

log = logging.getLogger(__name__)

# Services that are not ours and answer as they always do.
_FOREIGN = ("/grpc.health.v1.Health/", "/grpc.reflection.")
# Probes come from tools that set no deadline, and must be answered while the server drains.
_PROBES = ("/seodang.api.serving.v1.ControlService/",)


class CallLedger:
    """Counts of a server's calls; ``with ledger`` counts one while it runs."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.started = 0
        self.failed = 0
        self.draining = False
        self.idle = asyncio.Event()
        self.idle.set()

    def __enter__(self) -> None:
        self.in_flight += 1
        self.started += 1
        self.idle.clear()

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.idle.set()


class CallInterceptor(aio.ServerInterceptor):
    """Guards each call and turns what it raises into a status."""

    def __init__(self, ledger: CallLedger) -> None:
        self._ledger = ledger

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "_Handler | None":
        """Wraps the handler of the called method, if there is one."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(_unknown(method))
        if method.startswith(_FOREIGN):
            return handler
        if method.startswith(_PROBES):
            probe: Any = handler.unary_unary
            return grpc.unary_unary_rpc_method_handler(
                self._wrap_probe(method, probe),
                tolerant(handler.request_deserializer or bytes),
                handler.response_serializer,
            )
        wrap = self._wrap_stream if handler.response_streaming else self._wrap_unary
        streaming = handler.request_streaming
        make = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, False): grpc.stream_unary_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[streaming, handler.response_streaming]
        inner: Any = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        return make(
            wrap(method, inner, streaming), tolerant(handler.request_deserializer or bytes), handler.response_serializer
        )

    def _wrap_probe(self, method: str, inner: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        """Not counted, or a call of Drain would wait for itself."""

        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            try:
                return await inner(well_formed(request, streaming=False), context)
            except Exception as error:  # noqa: BLE001 - the edge: whatever is raised becomes a status
                await self._refuse(method, context, error)

        return call

    def _wrap_unary(
        self, method: str, inner: Callable[..., Awaitable[Any]], streaming: bool
    ) -> Callable[..., Awaitable[Any]]:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> Any:
            with self._ledger:
                try:
                    self._admit(context)
                    return await inner(well_formed(request, streaming=streaming), context)
                except Exception as error:  # noqa: BLE001 - the edge: whatever is raised becomes a status
                    await self._refuse(method, context, error)

        return call

    def _wrap_stream(
        self, method: str, inner: Callable[..., AsyncGenerator[Any, None]], streaming: bool
    ) -> Callable[..., AsyncIterator[Any]]:
        async def call(request: Any, context: aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
            with self._ledger:
                try:
                    self._admit(context)
                    # Closing it here, not when it is collected, frees what it holds before the call counts as over.
                    async with aclosing(inner(well_formed(request, streaming=streaming), context)) as responses:
                        async for response in responses:
                            yield response
                except Exception as error:  # noqa: BLE001 - the edge: whatever is raised becomes a status
                    await self._refuse(method, context, error)

        return call

    def _admit(self, context: aio.ServicerContext[Any, Any]) -> None:
        if self._ledger.draining:
            raise Unavailable("the server is draining and takes no new calls: try another replica or try again")
        remaining_s = context.time_remaining()
        # A call without a deadline reports either None or a time beyond any that a caller would choose.
        if remaining_s is None or remaining_s > 10 * 365 * 86400:
            raise InvalidInput(
                "the call has no deadline: set one (a timeout) so that it cannot hang", reason="DEADLINE_REQUIRED"
            )
        if remaining_s <= 0:
            raise DeadlineExpired("the call's deadline was over before the server began with it: allow more time")

    async def _refuse(self, method: str, context: aio.ServicerContext[Any, Any], error: Exception) -> None:
        if isinstance(error, aio.AbortError):
            raise error
        self._ledger.failed += 1
        await context.abort_with_status(to_status(of_the_tree(error, method)))


def _unknown(method: str) -> Callable[..., Awaitable[None]]:
    """A handler that tells which method there is not, in the place of gRPC's "Method not found!"."""

    async def call(requests: Any, context: aio.ServicerContext[Any, Any]) -> None:
        error = Unsupported(
            f"this server has no method {method[1:200]}: check the address; server reflection lists what is here",
            reason="NO_SUCH_METHOD",
        )
        await context.abort_with_status(to_status(error))

    return call


def of_the_tree(error: Exception, where: str) -> SeodangError:
    """The error itself, or for one outside the tree an ``InternalFault`` whose details are in the log alone."""
    if isinstance(error, SeodangError):
        return error
    reference = uuid.uuid4().hex[:12]
    log.error("%s failed, reference %s", where, reference, exc_info=error)
    return InternalFault(
        f"the server met a fault of its own; its log has the details under reference {reference}",
        metadata={"reference": reference},
    )
