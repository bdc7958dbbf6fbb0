"""Where a student's parameters are while it trains, and how to compute with them there."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

from torch import Tensor

MadeT = TypeVar("MadeT")


class Place(Protocol):
    """Ranks that share a student call everything here together, equally often."""

    def compute(self, run: Callable[[], MadeT]) -> MadeT:
        """The tensors of what reads the parameters, with gradients."""
        ...

    def whole(self) -> AbstractContextManager[Mapping[str, Tensor]]:
        """The model's ``state_dict`` as it computes, for as long as the context lasts."""
        ...

    def accumulate(self, *, last: bool) -> None:
        """Said before each backward pass of a step: gradients are complete after the last one."""
        ...


class Here:
    """All in this process."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def compute(self, run: Callable[[], MadeT]) -> MadeT:
        """See ``Place``."""
        return run()

    @contextmanager
    def whole(self) -> Iterator[Mapping[str, Tensor]]:
        """See ``Place``."""
        yield self._model.state_dict()

    def accumulate(self, *, last: bool) -> None:
        """See ``Place``."""
