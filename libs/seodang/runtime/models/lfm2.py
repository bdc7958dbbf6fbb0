"""LFM2 (Liquid AI, 2025): gated short convolutions and grouped-query attention in the order that the config gives.

A convolution looks back L - 1 tokens. It keeps one row a token in the paged cache, its gated input, as attention keeps
a key: chunked prefill, shared prefixes, preemption and rewinding then need nothing of their own.

T tokens, R rows of a group, Q new tokens of each, H hidden, L taps.
"""

from typing import TypeAlias

import torch
from transformers import PreTrainedConfig

from seodang.runtime.attention import BLOCK_TOKENS, AttentionPlan, Group
from seodang.runtime.cache import LayerShape, PagedCache
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.models.llama import AttentionNames, GroupedQueryAttention
from seodang.runtime.models.parts import Embedding, GatedMLP, Head, Norm, add_up, read_head
from seodang.runtime.models.rotary import FIXED_TYPES, Rotary
from seodang.runtime.sharding import Shard
from seodang.runtime.weights import Part, Source

_CONVOLUTION, _ATTENTION = "conv", "full_attention"
_NAMES = AttentionNames(out="out_proj", query_norm="q_layernorm", key_norm="k_layernorm")


def implements(config: PreTrainedConfig) -> bool:
    """Whether every field of an LFM2 config has a value that this file computes."""
    return (
        not config.conv_bias
        and set(config.layer_types) <= {_CONVOLUTION, _ATTENTION}
        and config.rope_parameters["rope_type"] in FIXED_TYPES
    )


def is_superfluous(name: str, config: PreTrainedConfig) -> bool:
    """Tensors that checkpoints of the family carry and the model does not use."""
    return name == "lm_head.weight" and bool(config.tie_word_embeddings)


class LFM2:
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
            self._norm = Norm(source, kernels, "model.embedding_norm", hidden, config.norm_eps)
            self.head = read_head(source, self._embedding, vocabulary, hidden, tied=config.tie_word_embeddings)
        self._rotary = Rotary(config, size, positions, part.device)
        key_heads = config.num_key_value_heads // seat.layout.tp
        self._keys_and_values = LayerShape(((key_heads, size), (key_heads, size)))
        self._gated_input = LayerShape(((1, hidden),))

    def cache_shapes(self) -> dict[int, LayerShape]:
        """Keys and values of every key head, or a convolution's gated input."""
        return {
            index: self._gated_input if isinstance(layer.operator, ShortConvolution) else self._keys_and_values
            for index, layer in self._layers.items()
        }

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
            normed_TH = layer.operator_norm(hidden_TH)
            if isinstance(layer.operator, ShortConvolution):
                mixed_TH = layer.operator(normed_TH, plan, cache, index)
            else:
                mixed_TH = add_up(layer.operator(normed_TH, cos_sin, plan, cache, index), tp)
            hidden_TH = hidden_TH + mixed_TH
            hidden_TH = add_up(layer.mlp(layer.mlp_norm(hidden_TH)), tp).add_(hidden_TH)
        return hidden_TH if self._norm is None else self._norm(hidden_TH)


class ShortConvolution:
    """Each channel mixes its last L gated inputs: out(c * convolve(b * x)). Whole on every tensor-parallel rank: it is
    small, and b, c and x are rows of one tensor.
    """

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, name: str) -> None:
        hidden, taps = config.hidden_size, config.conv_L_cache
        self._kernels = kernels
        self._in = source.matrix(Part(f"{name}.in_proj.weight", (3 * hidden, hidden)))
        self._taps_HL = source.rows(Part(f"{name}.conv.weight", (hidden, 1, taps))).squeeze(1)
        self._out = source.matrix(Part(f"{name}.out_proj.weight", (hidden, hidden)))

    def __call__(self, x_TH: torch.Tensor, plan: AttentionPlan, cache: PagedCache, layer: int) -> torch.Tensor:
        """[T, H] to [T, H]."""
        before_TH, after_TH, value_TH = self._kernels.linear(x_TH, self._in).chunk(3, dim=-1)
        gated_TH = (before_TH * value_TH).to(cache.dtype)
        cache.write(layer, 0, gated_TH[:, None], plan)
        cells_CH = cache.pool(layer, 0).flatten(0, 2)
        taps_HL = self._taps_HL.to(x_TH.dtype)
        mixed_TH = gated_TH.to(x_TH.dtype) * taps_HL[:, -1]
        for back in range(1, taps_HL.shape[1]):
            earlier = [_earlier(group, gated_TH, cells_CH, back) for group in plan.groups]
            earlier_TH = earlier[0] if len(earlier) == 1 else torch.cat(earlier)
            mixed_TH = mixed_TH + earlier_TH.to(x_TH.dtype) * taps_HL[:, -1 - back]
        return self._kernels.linear(after_TH * mixed_TH, self._out)


Operator: TypeAlias = ShortConvolution | GroupedQueryAttention


class Layer:
    """One layer's weights."""

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, index: int, head_size: int) -> None:
        name, hidden, epsilon = f"model.layers.{index}", config.hidden_size, config.norm_eps
        self.operator_norm = Norm(source, kernels, f"{name}.operator_norm", hidden, epsilon)
        self.operator: Operator
        if config.layer_types[index] == _CONVOLUTION:
            self.operator = ShortConvolution(config, source, kernels, f"{name}.conv")
        else:
            self.operator = GroupedQueryAttention(
                config, source, kernels, f"{name}.self_attn", head_size, _NAMES, epsilon
            )
        self.mlp_norm = Norm(source, kernels, f"{name}.ffn_norm", hidden, epsilon)
        self.mlp = GatedMLP(
            source, kernels, f"{name}.feed_forward", hidden, intermediate_size(config), gate="w1", up="w3", down="w2"
        )


def _earlier(group: Group, gated_TH: torch.Tensor, cells_CH: torch.Tensor, back: int) -> torch.Tensor:
    """What the cache holds ``back`` tokens before each token of a group, zero before the first: [R * Q, H]."""
    if group.blocks is None:
        own_QH = gated_TH[group.tokens]
        return torch.cat([own_QH.new_zeros(min(back, len(own_QH)), own_QH.shape[1]), own_QH[:-back]])
    positions_RQ = group.positions_RQ - back
    known_RQ = positions_RQ.clamp(min=0)
    block_RQ = group.blocks.view(group.rows, -1).long().gather(1, known_RQ // BLOCK_TOKENS)
    cells = cells_CH.index_select(0, (block_RQ * BLOCK_TOKENS + known_RQ % BLOCK_TOKENS).flatten())
    return cells * (positions_RQ.flatten() >= 0)[:, None]


def intermediate_size(config: PreTrainedConfig) -> int:
    """Width of the feed-forward layers, which the config may give by two thirds and a multiple."""
    if not config.block_auto_adjust_ff_dim:
        return int(config.intermediate_size)
    size = int(2 * config.intermediate_size / 3)
    if config.block_ffn_dim_multiplier is None:
        return size
    size, multiple = int(config.block_ffn_dim_multiplier * size), int(config.block_multiple_of)
    return -(-size // multiple) * multiple
