"""Llama and Qwen3: grouped-query attention and a gated MLP; Qwen3 norms the heads of queries and keys.

T tokens, N query heads and K key heads of this rank, D head size.
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedConfig

from seodang.runtime.attention import AttentionPlan, attend
from seodang.runtime.cache import LayerShape, PagedCache
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.models.parts import Embedding, GatedMLP, Head, Norm, add_up, read_head
from seodang.runtime.models.rotary import FIXED_TYPES, Rotary
from seodang.runtime.sharding import Shard
from seodang.runtime.weights import Part, Source


def implements(config: PreTrainedConfig) -> bool:
    """Whether every field of a Llama or Qwen3 config has a value that this file computes."""
    return (
        config.hidden_act == "silu"
        and not config.attention_bias
        and not getattr(config, "mlp_bias", False)
        and set(getattr(config, "layer_types", None) or ["full_attention"]) == {"full_attention"}
        and config.rope_parameters["rope_type"] in FIXED_TYPES
    )


def is_superfluous(name: str, config: PreTrainedConfig) -> bool:
    """Tensors that checkpoints of the family carry and the model does not use."""
    return (name == "lm_head.weight" and config.tie_word_embeddings) or name.endswith("rotary_emb.inv_freq")


class Llama:
    """One rank's part of the model (``seodang.runtime.decoder.Decoder``)."""

    def __init__(self, config: PreTrainedConfig, source: Source, part: Shard, kernels: Kernels, positions: int) -> None:
        seat = source.seat
        vocabulary, hidden = config.vocab_size, config.hidden_size
        size = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
        self._part = part
        self._activations = kernels.activations
        self._embedding: Embedding | None = None
        self._norm: Norm | None = None
        self.head: Head | None = None
        if seat.is_first:
            self._embedding = Embedding(source, "model.embed_tokens.weight", vocabulary, hidden)
        self._layers = {
            layer: Layer(config, source, kernels, layer, size) for layer in seat.layers(config.num_hidden_layers)
        }
        if seat.is_last:
            self._norm = Norm(source, kernels, "model.norm", hidden, config.rms_norm_eps)
            self.head = read_head(source, self._embedding, vocabulary, hidden, tied=config.tie_word_embeddings)
        self._rotary = Rotary(config, size, positions, part.device)
        key_heads = config.num_key_value_heads // seat.layout.tp
        self._keys_and_values = LayerShape(((key_heads, size), (key_heads, size)))

    def cache_shapes(self) -> dict[int, LayerShape]:
        """Keys and values of every key head."""
        return dict.fromkeys(self._layers, self._keys_and_values)

    def forward(self, plan: AttentionPlan, received_TH: torch.Tensor | None, cache: PagedCache) -> torch.Tensor:
        """This stage's layers over the batch: [T, H]."""
        tp = self._part.tp_group
        if self._embedding is not None:
            hidden_TH = self._embedding(plan.tokens_T, tp).to(self._activations)
        else:
            assert received_TH is not None
            hidden_TH = received_TH
        cos_sin = self._rotary.at(plan.positions_T, hidden_TH.dtype)
        for index, layer in self._layers.items():
            mixed = layer.attention(layer.input_norm(hidden_TH), cos_sin, plan, cache, index)
            hidden_TH = add_up(mixed, tp).add_(hidden_TH)
            hidden_TH = add_up(layer.mlp(layer.mlp_norm(hidden_TH)), tp).add_(hidden_TH)
        return hidden_TH if self._norm is None else self._norm(hidden_TH)


class Layer:
    """One layer's weights."""

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, index: int, head_size: int) -> None:
        name, hidden, epsilon = f"model.layers.{index}", config.hidden_size, config.rms_norm_eps
        self.input_norm = Norm(source, kernels, f"{name}.input_layernorm", hidden, epsilon)
        self.attention = GroupedQueryAttention(
            config, source, kernels, f"{name}.self_attn", head_size, _NAMES[config.model_type], epsilon
        )
        self.mlp_norm = Norm(source, kernels, f"{name}.post_attention_layernorm", hidden, epsilon)
        self.mlp = GatedMLP(source, kernels, f"{name}.mlp", hidden, config.intermediate_size)


@dataclass(frozen=True, slots=True)
class AttentionNames:
    """What a family calls the parts of its attention; without names for them, it has no norms of heads."""

    out: str = "o_proj"
    query_norm: str = ""
    key_norm: str = ""


_NAMES = {"llama": AttentionNames(), "qwen3": AttentionNames(query_norm="q_norm", key_norm="k_norm")}


class GroupedQueryAttention:
    """Several query heads share a key head (Ainslie et al., 2023)."""

    def __init__(
        self,
        config: PreTrainedConfig,
        source: Source,
        kernels: Kernels,
        name: str,
        size: int,
        names: AttentionNames,
        epsilon: float,
    ) -> None:
        hidden, heads, key_heads = config.hidden_size, config.num_attention_heads, config.num_key_value_heads
        self._kernels = kernels
        self._size = size
        self._scale = float(size**-0.5)
        self._qkv = source.matrix(
            Part(f"{name}.q_proj.weight", (heads * size, hidden), 0),
            Part(f"{name}.k_proj.weight", (key_heads * size, hidden), 0),
            Part(f"{name}.v_proj.weight", (key_heads * size, hidden), 0),
        )
        self._out = source.matrix(Part(f"{name}.{names.out}.weight", (hidden, heads * size), 1))
        self._norms: tuple[torch.Tensor, torch.Tensor] | None = None
        self._epsilon = epsilon
        if names.query_norm and names.key_norm:
            query_norm, key_norm = (f"{name}.{norm}.weight" for norm in (names.query_norm, names.key_norm))
            self._norms = source.rows(Part(query_norm, (size,))), source.rows(Part(key_norm, (size,)))

    def __call__(
        self,
        x_TH: torch.Tensor,
        cos_sin: tuple[torch.Tensor, torch.Tensor],
        plan: AttentionPlan,
        cache: PagedCache,
        layer: int,
    ) -> torch.Tensor:
        """[T, H] to this rank's summand of [T, H]."""
        kernels = self._kernels
        qkv_THD = kernels.linear(x_TH, self._qkv).view(len(x_TH), -1, self._size)
        keys, values = cache.pool(layer, 0), cache.pool(layer, 1)
        query_TND = kernels.place_heads(qkv_THD, self._norms, self._epsilon, cos_sin, keys, values, plan.write_slots_T)
        parts = []
        for group in plan.groups:
            query = query_TND[group.tokens]
            if group.queries == 1:
                parts.append(kernels.attention(query, keys, values, self._size, group, self._scale))
            else:
                key, value = (cache.context(layer, entry, group, plan) for entry in (0, 1))
                parts.append(attend(group, query, key, value, scale=self._scale))
        mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
        return kernels.linear(mixed.flatten(1), self._out)
