"""What an executor needs of a model, and which implementation serves which family."""

from types import ModuleType
from typing import Final, Protocol

import torch
from transformers import PreTrainedConfig

from seodang.runtime.attention import AttentionPlan
from seodang.runtime.cache import LayerShape, PagedCache
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.models import axk1, lfm2, llama
from seodang.runtime.models.parts import Head
from seodang.runtime.sharding import Shard
from seodang.runtime.weights import Source


class Decoder(Protocol):
    """One rank's part of a causal language model. T tokens, H hidden size."""

    head: Head | None
    """The output head, on the ranks that hold a part of it."""

    def cache_shapes(self) -> dict[int, LayerShape]:
        """What each of this rank's layers keeps of a token."""

    def forward(self, plan: AttentionPlan, received_TH: torch.Tensor | None, cache: PagedCache) -> torch.Tensor:
        """This stage's layers, from the tokens or from the stage before: [T, H], normed on the last stage."""


class DecoderClass(Protocol):
    """Builds a decoder from its weights; ``positions`` is the longest context."""

    def __call__(
        self, config: PreTrainedConfig, source: Source, part: Shard, kernels: Kernels, positions: int
    ) -> Decoder:
        """Ask ``source`` for every weight of this rank's part."""


_FAMILIES: Final[dict[str, tuple[ModuleType, DecoderClass]]] = {
    "axk1": (axk1, axk1.AXK1),
    "lfm2": (lfm2, lfm2.LFM2),
    "llama": (llama, llama.Llama),
    "qwen3": (llama, llama.Llama),
}


def own_family(config: PreTrainedConfig) -> tuple[ModuleType, DecoderClass] | None:
    """Our implementation of a config's family, if there is one and it computes all that the config asks for."""
    family = _FAMILIES.get(config.model_type)
    return family if family is not None and family[0].implements(config) else None
