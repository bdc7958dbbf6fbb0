"""Will it fit: bytes of a model on each rank of a layout, from its config alone, and the tokens left for the cache.

Weights and cache are exact: they come from the same code that loads the model. Activations are an upper estimate.
"""

from dataclasses import dataclass
from typing import Final

import torch
from transformers import PreTrainedConfig

from seodang.base.errors import InvalidInput, Unsupported
from seodang.runtime.decoder import DecoderClass, own_family
from seodang.runtime.executor import DTYPES
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.kernels.weight import NARROW
from seodang.runtime.layout import check_layout, is_latent
from seodang.runtime.sharding import WHOLE, Shard
from seodang.runtime.weights import Outline, Seat
from seodang.worker.messages import DType, Layout

HEADROOM: Final = 0.08
"""Share of a device's memory left to the framework, its kernels and fragmentation."""
TENSOR_PARALLEL_LIMIT: Final = 64
PIPELINE_LIMIT: Final = 16


@dataclass(frozen=True, slots=True)
class Demand:
    """What is to be served, and on what."""

    memory_bytes: int
    """Of one device."""
    dtype: DType = "bfloat16"
    prefill_tokens: int = 8192
    """Prompt tokens computed in one step."""
    max_batch: int = 64


@dataclass(frozen=True, slots=True)
class LayoutPlan:
    """One layout; sizes are those of its fullest rank."""

    layout: Layout
    weight_bytes: int
    cache_bytes_per_token: int
    activation_bytes: int
    cache_tokens: int
    refusal: str = ""
    """Why the layout cannot serve; empty if it can."""


def plan(config: PreTrainedConfig, layout: Layout, demand: Demand) -> LayoutPlan:
    """What a layout takes, and whether it fits. ``Unsupported`` for families without code of ours."""
    family = own_family(config)
    if family is None:
        raise Unsupported(f"{config.model_type} is not a family that the planner knows: axk1, lfm2, llama, qwen3")
    try:
        check_layout(layout, config)
        weights, cache = _held_bytes(config, family[1], layout, demand.dtype)
    except InvalidInput as error:
        return LayoutPlan(layout, 0, 0, 0, 0, refusal=error.message)
    activations = _activation_bytes(config, layout, demand, DTYPES[demand.dtype])
    left = int(demand.memory_bytes * (1 - HEADROOM)) - weights - activations
    tokens = max(0, left // cache) if cache else 0
    refusal = ""
    if left < 0:
        short = weights + activations - int(demand.memory_bytes * (1 - HEADROOM))
        refusal = f"{gib(short)} too much on each device: {gib(weights)} of weights, {gib(activations)} of activations"
    elif tokens < config.max_position_embeddings:
        context = config.max_position_embeddings
        refusal = f"the cache holds {tokens:,} tokens, less than one context of {context:,}"
    return LayoutPlan(layout, weights, cache, activations, tokens, refusal)


def layouts(config: PreTrainedConfig, devices: int) -> list[Layout]:
    """Every layout that uses up to ``devices`` devices, with and without expert parallelism."""
    found = []
    for pp in range(1, min(devices, PIPELINE_LIMIT, config.num_hidden_layers) + 1):
        for tp in range(1, min(devices // pp, TENSOR_PARALLEL_LIMIT) + 1):
            if devices % (tp * pp) == 0:
                found.append(Layout(tp=tp, pp=pp))
                if tp > 1 and pp == 1 and getattr(config, "base_model_ep_plan", None):
                    found.append(Layout(tp=tp, ep=tp))
    return found


def recommend(plans: list[LayoutPlan], devices: int) -> list[LayoutPlan]:
    """Layouts that fit, best first: fewest stages, then whole experts, then most cached tokens over all replicas.

    Stages (pp) wait for each other, so every one adds its time to every token; whole experts (ep) move less data
    between devices than sliced ones.
    """

    def worth(item: LayoutPlan) -> tuple[int, bool, int]:
        replicas = devices // item.layout.ranks
        return item.layout.pp, item.layout.ep == 1, -replicas * item.cache_tokens

    return sorted((item for item in plans if not item.refusal), key=worth)


def _held_bytes(config: PreTrainedConfig, build: DecoderClass, layout: Layout, kind: DType) -> tuple[int, int]:
    """Of the weights, and of one cached token."""
    dtype = DTYPES[kind]
    weights, cache = 0, 0
    for stage in range(layout.pp):
        seat = Seat(layout, tp_rank=0, stage=stage)  # rank 0 of a row has the largest share
        outline = Outline(seat, dtype, form=NARROW.get(kind))
        decoder = build(config, outline, Shard(seat, None, WHOLE, torch.device("meta")), TorchKernels(dtype), 0)
        weights = max(weights, outline.bytes_held)
        cache = max(cache, sum(shape.bytes_per_token(dtype) for shape in decoder.cache_shapes().values()))
    return weights, cache


def _activation_bytes(config: PreTrainedConfig, layout: Layout, demand: Demand, dtype: torch.dtype) -> int:
    """What one step holds at once: hidden states, the widest layer's inside, expanded keys and values, and logits."""
    hidden, tokens = config.hidden_size, demand.prefill_tokens
    width = config.intermediate_size
    if experts := getattr(config, "num_experts_per_tok", None):
        shared = getattr(config, "n_shared_experts", 0) or 0
        width = max(width, (experts + shared) * config.moe_intermediate_size)
    heads = config.num_attention_heads // layout.tp
    if is_latent(config):
        head = 2 * (config.qk_nope_head_dim + config.qk_rope_head_dim) + 2 * config.v_head_dim
    else:
        head = 4 * (getattr(config, "head_dim", None) or hidden // config.num_attention_heads)
    inside = max(3 * width // layout.tp, heads * head)
    logits = demand.max_batch * config.vocab_size * torch.float32.itemsize
    return int(tokens * (4 * hidden + inside) * dtype.itemsize + logits)


def gib(count: int) -> str:
    """Bytes for people."""
    for unit, size in (("TiB", 2**40), ("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(count) >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
