"""A model that somebody else holds, served where it is: its weights as they are now, without a checkpoint."""

from collections.abc import Mapping
from functools import cache
from typing import Final

import torch
from transformers import PreTrainedConfig

from seodang.runtime.attention import BLOCK_TOKENS
from seodang.runtime.checkpoint import TensorEntry
from seodang.runtime.decoder import own_family
from seodang.runtime.executor import Executor
from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.reading import Box
from seodang.runtime.sharding import Ranks
from seodang.runtime.weights import Part, Seat, Source
from seodang.worker.messages import Layout

_NAMED_ALIKE: Final = frozenset({"lfm2", "llama", "qwen3"})
"""Families whose tensors have the same names in transformers' memory as in a checkpoint."""


class Memory(Source):
    """Copies each tensor from a mapping of names."""

    def __init__(self, tensors: Mapping[str, torch.Tensor], dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(Seat(Layout()), dtype, form=None)
        self._tensors = tensors
        self._device = device

    @property
    def entries(self) -> Mapping[str, TensorEntry] | None:
        """None: there is no checkpoint."""
        return None

    def _allocate(self, shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self._device)

    def _fill(self, part: Part, box: Box, into: torch.Tensor) -> None:
        tensor = self._tensors[part.name]
        assert tuple(tensor.shape) == part.shape, f"{part.name}: {tuple(tensor.shape)} is not {part.shape}"
        into.copy_(tensor[tuple(slice(begin, end) for begin, end in box)])


def can_run(config: PreTrainedConfig) -> bool:
    """Whether a model of this config can be run from its weights in memory."""
    return config.model_type in _NAMED_ALIKE and own_family(config) is not None


@torch.inference_mode()
def executor_in_memory(
    config: PreTrainedConfig, tensors: Mapping[str, torch.Tensor], *, positions: int, cache_tokens: int
) -> Executor:
    """A model on this process alone, with a copy of its weights.

    Args:
        tensors: of ``state_dict()``, all on one device and of one dtype.
        positions: of the longest sequence.
        cache_tokens: how many the cache shall hold.
    """
    family = own_family(config)
    assert family is not None, f"{config.model_type} cannot be run here: ask can_run first"
    example = next(iter(tensors.values()))
    ranks = Ranks.alone(example.device.type)
    kernels, part = _kernels(example.device.type, example.dtype), ranks.part(Layout())
    decoder = family[1](config, Memory(tensors, example.dtype, example.device), part, kernels, positions)
    per_token = sum(shape.bytes_per_token(example.dtype) for shape in decoder.cache_shapes().values())
    blocks = -(-cache_tokens // BLOCK_TOKENS) + 1
    return Executor(decoder, config, part, kernels, example.dtype, blocks * BLOCK_TOKENS * per_token)


@cache
def _kernels(device: str, dtype: torch.dtype) -> Kernels:
    """Chosen once: a student that is being trained is served anew at every step, and choosing asks the compiler."""
    return choose_kernels(Ranks.alone(device), dtype)
