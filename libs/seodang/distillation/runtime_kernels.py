"""The runtime's kernels in a process that trains."""

from functools import cache

import torch

from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.kernels.native_kernels import NativeKernels
from seodang.runtime.sharding import Ranks


@cache
def runtime_kernels(device: str) -> Kernels:
    """Those for a type of device, chosen once: choosing asks the compiler."""
    return choose_kernels(Ranks.alone(device), torch.float32)


def has_exact_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 with sums in float32, several times as fast as it multiplies float32."""
    kernels = runtime_kernels("cpu")
    return isinstance(kernels, NativeKernels) and kernels.tiles
