"""Where a student's parameters are while it trains, and in which dtype it computes with them there.

Parameters, gradients and moments are float32. Computing in bfloat16 is computing with a copy of the parameters, made
whenever they are read: gradients of the copy arrive at the parameters, and are added up there in float32.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from seodang.distillation.training.matching import StateMatching

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


class Narrow:
    """All in this process, computed in a narrower dtype.

    Not by torch.autocast, which chooses a dtype for each operation and leaves the residual stream in float32: this is
    what FSDP2 does with the parameters of several ranks (sharding.py), so that one rank and many do the same
    arithmetic.
    """

    def __init__(self, model: Any, matching: StateMatching | None, dtype: torch.dtype) -> None:
        self._whole = Whole(model, matching)
        self._dtype = dtype

    def compute(self, run: Callable[[], MadeT]) -> MadeT:
        """See ``Place``."""
        narrow = {name: each.to(self._dtype) for name, each in self._whole.named_parameters()}
        made: MadeT = functional_call(self._whole, narrow, (run,))
        return made

    @contextmanager
    def whole(self) -> Iterator[Mapping[str, Tensor]]:
        """See ``Place``."""
        model = self._whole.model
        names = {name for name, _ in model.named_parameters(remove_duplicate=False)}
        every = model.state_dict()
        yield {name: each.to(self._dtype) if name in names else each for name, each in every.items()}

    def accumulate(self, *, last: bool) -> None:
        """See ``Place``."""


class Whole(nn.Module):
    """All that is trained, as one module whose forward pass is whatever reads it: the head is used outside the
    student's own, and only within this one's are its parameters what is computed with.
    """

    def __init__(self, model: nn.Module, matching: StateMatching | None) -> None:
        super().__init__()
        self.model = model
        self.matching = matching

    def forward(self, run: Callable[[], MadeT]) -> MadeT:
        """What ``run`` makes."""
        return run()
