"""Which kernels a model computes with."""

import ctypes
import logging

import torch

from seodang.runtime.kernels.build import NoKernels, load_library
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.kernels.native_kernels import NativeKernels
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.sharding import Ranks

logger = logging.getLogger(__name__)


def choose_kernels(ranks: Ranks, dtype: torch.dtype) -> Kernels:
    """Ours on CPUs, torch's elsewhere; and torch's, with a warning, where ours cannot be compiled. Every rank of the
    group calls this, and all get the same: ranks exchange activations, so they must agree on the dtype of these.
    """
    if ranks.device.type != "cpu":
        return TorchKernels(dtype)
    library: ctypes.CDLL | None = None
    try:
        library = load_library()
    except NoKernels as error:
        logger.warning("models on this CPU run on plain torch, decoding at about half the speed: %s", error)
    if ranks.all_agree(library is not None) and library is not None:
        return NativeKernels(library)
    return TorchKernels(dtype)
