"""Which families have a GGUF form here: the name of every tensor and every number that llama.cpp asks for.

llama.cpp turns Llama's queries and keys by pairs of neighbours, as Meta's own code did; transformers by halves. Rows of
these projections are therefore put back into Meta's order. Qwen3 and LFM2 are turned by halves in both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from transformers import PreTrainedConfig

from seodang.base.errors import Unsupported
from seodang.runtime.models.lfm2 import intermediate_size

Array = npt.NDArray[Any]
CONVOLUTION: Final = "conv"
_ATTENTION: Final = "full_attention"
_ELSEWHERE: Final = "Export it as --format transformers, which transformers and vLLM load"


@dataclass(frozen=True, slots=True)
class Family:
    """One architecture of llama.cpp."""

    architecture: str
    by_neighbours: bool
    """Queries and keys are turned by pairs of neighbours."""
    head_norms: bool
    """Queries and keys are normed by head."""
    layers: frozenset[str] = frozenset({_ATTENTION})
    """What ``layer_types`` may name."""


FAMILIES: Final[Mapping[str, Family]] = {
    "llama": Family("llama", by_neighbours=True, head_norms=False),
    "qwen3": Family("qwen3", by_neighbours=False, head_norms=True),
    "lfm2": Family("lfm2", by_neighbours=False, head_norms=True, layers=frozenset({_ATTENTION, CONVOLUTION})),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a tensor of the checkpoint goes."""

    name: str
    """In the file."""
    shape: tuple[int, ...]
    turned_heads: int = 0
    """Heads whose rows are to be put into the order of neighbours; 0 leaves them as they are."""
    exact: bool = False
    """Stays float32 whatever the other matrices become: llama.cpp convolves in nothing else."""


def family_of(config: PreTrainedConfig) -> Family:
    """The family of a model that llama.cpp computes as we do.

    Raises:
        Unsupported: it has none, or the config asks for something that the family's graph does not do.
    """
    family = FAMILIES.get(config.model_type)
    if family is None:
        raise Unsupported(
            f"models of type {config.model_type} are not exported to GGUF, only {', '.join(FAMILIES)}. {_ELSEWHERE}",
            metadata={"model_type": config.model_type},
        )
    kind = config.rope_parameters["rope_type"]
    strange = set(layer_types(config)) - family.layers
    for name, value, allowed in (
        ("hidden_act", getattr(config, "hidden_act", "silu"), ("silu",)),
        ("attention_bias", bool(getattr(config, "attention_bias", False)), (False,)),
        ("mlp_bias", bool(getattr(config, "mlp_bias", False)), (False,)),
        ("conv_bias", bool(getattr(config, "conv_bias", False)), (False,)),
        ("layer_types", min(strange, default=_ATTENTION), family.layers),
        ("rope_type", kind, ("default", "linear", "llama3")),
        ("partial_rotary_factor", config.rope_parameters.get("partial_rotary_factor", 1.0), (1.0,)),
    ):
        if value not in allowed:
            raise Unsupported(f"config.json: {name}={value!r} is not exported to GGUF. {_ELSEWHERE}")
    return family


def head_size(config: PreTrainedConfig) -> int:
    """Width of one head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def layer_types(config: PreTrainedConfig) -> list[str]:
    """What mixes the tokens of each layer."""
    return getattr(config, "layer_types", None) or [_ATTENTION] * config.num_hidden_layers


def place_tensors(config: PreTrainedConfig, family: Family) -> dict[str, Placed]:
    """Every tensor that a checkpoint of this config must hold, by the name that it has there."""
    hidden = config.hidden_size
    placed = {"model.embed_tokens.weight": Placed("token_embd.weight", (config.vocab_size, hidden))}
    if family.architecture == "lfm2":
        placed["model.embedding_norm.weight"] = Placed("token_embd_norm.weight", (hidden,))
    else:
        placed["model.norm.weight"] = Placed("output_norm.weight", (hidden,))
    if not config.tie_word_embeddings:
        placed["lm_head.weight"] = Placed("output.weight", (config.vocab_size, hidden))
    for layer, kind in enumerate(layer_types(config)):
        parts = _lfm2_layer(config, kind) if family.architecture == "lfm2" else _llama_layer(config, family)
        for name, part in parts.items():
            placed[f"model.layers.{layer}.{name}.weight"] = replace(part, name=f"blk.{layer}.{part.name}.weight")
    return placed


def _llama_layer(config: PreTrainedConfig, family: Family) -> dict[str, Placed]:
    hidden, inner, size = config.hidden_size, config.intermediate_size, head_size(config)
    queries, keys = config.num_attention_heads, config.num_key_value_heads
    parts = {
        "input_layernorm": Placed("attn_norm", (hidden,)),
        "self_attn.q_proj": Placed("attn_q", (queries * size, hidden), queries * family.by_neighbours),
        "self_attn.k_proj": Placed("attn_k", (keys * size, hidden), keys * family.by_neighbours),
        "self_attn.v_proj": Placed("attn_v", (keys * size, hidden)),
        "self_attn.o_proj": Placed("attn_output", (hidden, queries * size)),
        "post_attention_layernorm": Placed("ffn_norm", (hidden,)),
        "mlp.gate_proj": Placed("ffn_gate", (inner, hidden)),
        "mlp.up_proj": Placed("ffn_up", (inner, hidden)),
        "mlp.down_proj": Placed("ffn_down", (hidden, inner)),
    }
    if family.head_norms:
        parts["self_attn.q_norm"] = Placed("attn_q_norm", (size,))
        parts["self_attn.k_norm"] = Placed("attn_k_norm", (size,))
    return parts


def _lfm2_layer(config: PreTrainedConfig, kind: str) -> dict[str, Placed]:
    hidden, inner, size = config.hidden_size, intermediate_size(config), head_size(config)
    queries, keys = config.num_attention_heads, config.num_key_value_heads
    parts = {
        "operator_norm": Placed("attn_norm", (hidden,)),
        "ffn_norm": Placed("ffn_norm", (hidden,)),
        "feed_forward.w1": Placed("ffn_gate", (inner, hidden)),
        "feed_forward.w3": Placed("ffn_up", (inner, hidden)),
        "feed_forward.w2": Placed("ffn_down", (hidden, inner)),
    }
    if kind == CONVOLUTION:
        return parts | {
            "conv.in_proj": Placed("shortconv.in_proj", (3 * hidden, hidden)),
            "conv.conv": Placed("shortconv.conv", (hidden, 1, config.conv_L_cache), exact=True),
            "conv.out_proj": Placed("shortconv.out_proj", (hidden, hidden)),
        }
    return parts | {
        "self_attn.q_proj": Placed("attn_q", (queries * size, hidden)),
        "self_attn.k_proj": Placed("attn_k", (keys * size, hidden)),
        "self_attn.v_proj": Placed("attn_v", (keys * size, hidden)),
        "self_attn.out_proj": Placed("attn_output", (hidden, queries * size)),
        "self_attn.q_layernorm": Placed("attn_q_norm", (size,)),
        "self_attn.k_layernorm": Placed("attn_k_norm", (size,)),
    }


def by_neighbours(rows: Array, heads: int) -> Array:
    """Rows [heads x D, H] of halves (x0 x1 ... y0 y1 ...) as rows of neighbours (x0 y0 x1 y1 ...), head by head."""
    whole = rows.reshape(heads, 2, -1, rows.shape[1])
    turned: Array = np.ascontiguousarray(whole.swapaxes(1, 2)).reshape(rows.shape)
    return turned


def frequency_divisors(config: PreTrainedConfig) -> Array | None:
    """Llama 3's longer context: what each of the D/2 rotary frequencies is divided by; None for other models.

    Wavelengths up to L/high stay, those from L/low on are stretched by the factor, with a smooth passage between; L is
    the context of the first training (transformers, ``_compute_llama3_parameters``).
    """
    rope = config.rope_parameters
    if rope["rope_type"] != "llama3":
        return None
    size, first = head_size(config), rope["original_max_position_embeddings"]
    low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
    wavelengths = 2 * math.pi * float(rope["rope_theta"]) ** (np.arange(0, size, 2) / size)
    smooth = np.clip((first / wavelengths - low) / (high - low), 0.0, 1.0)
    divisors: Array = (1.0 / ((1.0 - smooth) / factor + smooth)).astype(np.float32)
    return divisors
