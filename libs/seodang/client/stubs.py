"""Generated stubs whose calls always have a deadline and raise the error tree."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from typing import Any, Final, TypeVar, cast

import grpc
from grpc import aio

from seodang.rpc.status import from_rpc_error

StubT = TypeVar("StubT")

UNARY_TIMEOUT_S: Final = 30.0
STREAM_TIMEOUT_S: Final = 3600.0
# Readers of a request stream (bidirectional calls) live as long as a conversation may.
_STREAM_CALLS = (
    grpc.UnaryStreamMultiCallable,
    grpc.StreamStreamMultiCallable,
    aio.UnaryStreamMultiCallable,
    aio.StreamStreamMultiCallable,
)


def guarded(stub: StubT) -> StubT:
    """The same stub, except that each call has a deadline (``timeout=`` overrides it) and fails with a SeodangError."""
    return cast(StubT, _Guarded(stub))


class _Guarded:
    def __init__(self, stub: object) -> None:
        for name, call in vars(stub).items():
            asynchronous = type(call).__module__.startswith("grpc.aio")
            setattr(self, name, _async_call(call) if asynchronous else _sync_call(call))


def _timeout_s(call: object) -> float:
    return STREAM_TIMEOUT_S if isinstance(call, _STREAM_CALLS) else UNARY_TIMEOUT_S


def _sync_call(call: Callable[..., Any]) -> Callable[..., Any]:
    default_s = _timeout_s(call)
    streams = isinstance(call, _STREAM_CALLS)

    def invoke(request: object, timeout: float | None = None, **options: Any) -> Any:
        try:
            answer = call(request, timeout=timeout or default_s, **options)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error
        return _SyncStream(answer) if streams else answer

    return invoke


def _async_call(call: Callable[..., Any]) -> Callable[..., Any]:
    default_s = _timeout_s(call)
    streams = isinstance(call, _STREAM_CALLS)

    def invoke(request: object = None, timeout: float | None = None, **options: Any) -> Any:
        answer = call(request, timeout=timeout or default_s, **options)
        return _AsyncStream(answer) if streams else _AsyncUnary(answer)

    return invoke


class _Call:
    """Passes everything else (cancel, code, metadata ...) on to gRPC's call object."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


class _SyncStream(_Call, Iterator[Any]):
    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            return next(self._call)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from error


class _AsyncUnary(_Call, Awaitable[Any]):
    def __await__(self) -> Generator[Any, None, Any]:
        try:
            return (yield from self._call.__await__())
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error


class _AsyncStream(_Call):
    async def __aiter__(self) -> AsyncIterator[Any]:
        try:
            async for message in self._call:
                yield message
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
        finally:
            # Leaving the loop early cancels the call, so that the server frees its slot.
            self._call.cancel()

    async def read(self) -> Any:
        """The next message, or ``grpc.aio.EOF`` after the last."""
        try:
            return await self._call.read()
        except aio.AioRpcError as error:
            raise from_rpc_error(error) from error
