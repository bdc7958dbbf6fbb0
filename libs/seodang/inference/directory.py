"""What the inference service needs to know about the models of its server, whoever keeps them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from seodang.api.inference.v1 import model_pb2
from seodang.worker.messages import ModelInfo, SamplingParams


class Activity:
    """Requests of one model at this moment."""

    def __init__(self) -> None:
        self.waiting = 0
        """Admitted, and nothing has come of them yet."""
        self.running = 0

    @contextmanager
    def request(self) -> Iterator[Callable[[], None]]:
        """Counts a request while it lasts; call what this yields when the first of its results is there."""
        begun = False

        def begin() -> None:
            nonlocal begun
            if not begun:
                begun = True
                self.waiting -= 1
                self.running += 1

        self.waiting += 1
        try:
            yield begin
        finally:
            begin()
            self.running -= 1


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A loaded model under the name that callers know. ``info.model_id`` is the engine's name for it."""

    name: str
    info: ModelInfo
    active_parameters: int
    sampling: SamplingParams
    """What a request's unset sampling fields mean."""
    activity: Activity = field(default_factory=Activity)


@dataclass(frozen=True)
class AbsentModel:
    """A name that is known while no model stands behind it: being loaded, or its load failed."""

    name: str
    state: model_pb2.ModelState.ValueType


ListedModel: TypeAlias = ServedModel | AbsentModel


class ModelDirectory(Protocol):
    """The models of one server."""

    def lease(self, name: str) -> AbstractAsyncContextManager[ServedModel]:
        """Holds a model for one request: it is not freed before the context is left.

        Raises:
            NotFound: the server has no such model.
            Unavailable: it will have it soon.
        """
        ...

    async def find(self, name: str) -> ListedModel:
        """The model behind a name, without loading anything; ``NotFound`` if there is none."""
        ...

    def listing(self) -> Sequence[ListedModel]:
        """All of them, in any order."""
        ...
