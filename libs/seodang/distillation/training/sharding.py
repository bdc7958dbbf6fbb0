"""A student spread over its ranks by FSDP2: each holds a part of every parameter, of its gradient and of its moments,
and sees the whole of a layer only while it computes with it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from seodang.distillation.group import Group
from seodang.distillation.training.matching import StateMatching
from seodang.distillation.training.place import MadeT, Whole
from seodang.distillation.training.student import Student


class Sharded:
    """Spread over the ranks of a group, which call everything here together. Gradients are the sums of all ranks'.

    Args:
        student: its parameters become parts of rank 0's.
        matching: trained beside it; spread like it.
        dtype: in which it computes; parts of parameters and sums of gradients stay as they are.
    """

    def __init__(self, student: Student, matching: StateMatching | None, group: Group, dtype: torch.dtype) -> None:
        whole = Whole(student.model, matching)
        policy = MixedPrecisionPolicy(param_dtype=dtype, reduce_dtype=torch.float32, cast_forward_inputs=False)
        self._names = set(student.model.state_dict())
        with torch.no_grad():
            for parameter in whole.parameters():
                dist.broadcast(parameter, src=0)
        mesh = init_device_mesh(student.device.type, (group.size,))
        layers = set(student.model._no_split_modules or ())
        for module in [*(each for each in whole.modules() if type(each).__name__ in layers), whole]:
            sharded = fully_shard(module, mesh=mesh, mp_policy=policy)
            # The loss is divided by the positions of all ranks already, so nothing is left to be averaged.
            sharded.set_gradient_divide_factor(1.0)
            sharded.set_force_sum_reduction_for_comms(True)
        assert isinstance(whole, FSDPModule)
        self._whole = whole

    def compute(self, run: Callable[[], MadeT]) -> MadeT:
        """See ``Place``."""
        made: MadeT = self._whole(run)
        if not torch.is_grad_enabled():
            # The outermost parameters stay whole for a backward pass, and would hide what is loaded or learned next.
            self._whole.reshard()
        return made

    @contextmanager
    def whole(self) -> Iterator[Mapping[str, Tensor]]:
        """See ``Place``. Every rank holds the whole student meanwhile."""
        spread = [module for module in self._whole.modules() if isinstance(module, FSDPModule)]
        for module in spread:
            module.unshard()
        model = self._whole.model
        # Not state_dict(), which would spread them again first.
        every = chain(model.named_parameters(remove_duplicate=False), model.named_buffers())
        try:
            yield {name: each.detach() for name, each in every if name in self._names}
        finally:
            for module in spread:
                module.reshard()

    def accumulate(self, *, last: bool) -> None:
        """See ``Place``."""
        self._whole.set_requires_gradient_sync(last)


def whole_weights(model: Any) -> dict[str, Tensor]:
    """Every parameter of a model that is spread over ranks, put together; all of them call this."""
    return {
        name: (each.full_tensor() if isinstance(each, DTensor) else each).detach().cpu()
        for name, each in model.named_parameters()
    }
