"""The rule of every stream that begins with an acceptance: failures before it are the status, later ones an event."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from seodang.api.types.v1 import fault_pb2
from seodang.rpc.calls import of_the_tree
from seodang.rpc.status import to_fault

ResponseT = TypeVar("ResponseT")


async def ending_in_fault(
    responses: AsyncGenerator[ResponseT, None], respond: Callable[[fault_pb2.Fault], ResponseT], where: str
) -> AsyncGenerator[ResponseT, None]:
    """The responses; an error after the first of them becomes the stream's last response instead of being raised.

    Args:
        responses: the stream; it is closed when this one is.
        respond: makes the response that carries a fault.
        where: names the call in the log if the fault is of our own.
    """
    accepted = False
    try:
        async with aclosing(responses):
            async for response in responses:
                accepted = True
                yield response
    except Exception as error:
        if not accepted:
            raise
        yield respond(to_fault(of_the_tree(error, where)))
