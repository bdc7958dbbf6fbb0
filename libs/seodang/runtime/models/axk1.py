"""A.X K1: multi-head latent attention and a mixture of experts whose output is normed once more.

A token's cache is its latent and its one rotary key. Few queries read the latent as it is: the key projection is
absorbed into the query, the value projection into the output. Many queries expand it to keys and values first.
T tokens, N heads of this rank, R context rows, C cached slots, Q queries; a query has a nope and a rope part.
"""

import math

import torch
import torch.nn.functional as F
from transformers import PreTrainedConfig

from seodang.runtime.attention import AttentionPlan, Group
from seodang.runtime.cache import LayerShape, PagedCache
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.models.moe import MixtureOfExperts
from seodang.runtime.models.parts import Embedding, GatedMLP, Head, Norm, add_up, read_head
from seodang.runtime.models.rotary import FIXED_TYPES, Rotary, halves
from seodang.runtime.sharding import Shard
from seodang.runtime.weights import Part, Source


def implements(config: PreTrainedConfig) -> bool:
    """Whether every field of an A.X K1 config has a value that this file computes."""
    return (
        config.hidden_act == "silu"
        and not config.attention_bias
        and config.rope_parameters["rope_type"] in FIXED_TYPES
        and config.n_shared_experts > 0
    )


def is_superfluous(name: str, config: PreTrainedConfig) -> bool:
    """Tensors that checkpoints of the family carry and the model does not use."""
    dense = [layer for layer, kind in enumerate(config.mlp_layer_types) if kind == "dense"]
    unused_norms = {
        f"model.layers.{layer}.{where}post_mlp_layernorm.weight" for layer in dense for where in ("", "mlp.")
    }
    prediction = name.startswith(f"model.layers.{config.num_hidden_layers}.")  # the multi-token prediction layer
    tied = name == "lm_head.weight" and config.tie_word_embeddings
    return name in unused_norms or prediction or tied or name.endswith("rotary_emb.inv_freq")


class AXK1:
    """One rank's part of the model (``seodang.runtime.decoder.Decoder``)."""

    def __init__(self, config: PreTrainedConfig, source: Source, part: Shard, kernels: Kernels, positions: int) -> None:
        seat = source.seat
        vocabulary, hidden = config.vocab_size, config.hidden_size
        tied = config.tie_word_embeddings
        self._part = part
        self._activations = kernels.activations
        self._embedding: Embedding | None = None
        self._norm: Norm | None = None
        self.head: Head | None = None
        if seat.is_first:
            self._embedding = Embedding(source, "model.embed_tokens.weight", vocabulary, hidden)
        self._layers = {layer: Layer(config, source, kernels, layer) for layer in seat.layers(config.num_hidden_layers)}
        if seat.is_last:
            self._norm = Norm(source, kernels, "model.norm", hidden, config.rms_norm_eps)
            self.head = read_head(source, self._embedding, vocabulary, hidden, tied=tied)
        self._rotary = Rotary(config, config.qk_rope_head_dim, positions, part.device)
        self._latent = LayerShape(((1, config.kv_lora_rank + config.qk_rope_head_dim),))

    def cache_shapes(self) -> dict[int, LayerShape]:
        """Latent and rotary key, as one row a token."""
        return dict.fromkeys(self._layers, self._latent)

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
            expanded = add_up(layer.mlp(layer.mlp_norm(hidden_TH)), tp)
            hidden_TH = hidden_TH + (expanded if layer.output_norm is None else layer.output_norm(expanded))
        return hidden_TH if self._norm is None else self._norm(hidden_TH)


class Layer:
    """One layer's weights."""

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, index: int) -> None:
        name, hidden, epsilon = f"model.layers.{index}", config.hidden_size, config.rms_norm_eps
        self.input_norm = Norm(source, kernels, f"{name}.input_layernorm", hidden, epsilon)
        self.attention = LatentAttention(config, source, kernels, f"{name}.self_attn")
        self.mlp_norm = Norm(source, kernels, f"{name}.post_attention_layernorm", hidden, epsilon)
        self.mlp: GatedMLP | MixtureOfExperts
        self.output_norm: Norm | None = None
        if config.mlp_layer_types[index] == "dense":
            self.mlp = GatedMLP(source, kernels, f"{name}.mlp", hidden, config.intermediate_size)
            return
        self.mlp = MixtureOfExperts(config, source, kernels, f"{name}.mlp")
        inside = f"{name}.mlp.post_mlp_layernorm"  # an older place of the same tensor
        older = source.entries is not None and f"{inside}.weight" in source.entries
        self.output_norm = Norm(source, kernels, inside if older else f"{name}.post_mlp_layernorm", hidden, epsilon)


class LatentAttention:
    """Multi-head latent attention (DeepSeek-V2, 2024) over a paged cache of latents."""

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, name: str) -> None:
        hidden, heads = config.hidden_size, config.num_attention_heads
        self._kernels = kernels
        self._nope, self._rope = config.qk_nope_head_dim, config.qk_rope_head_dim
        self._latent, self._value = config.kv_lora_rank, config.v_head_dim
        self._query_rank = config.q_lora_rank
        self._heads = heads // source.seat.layout.tp
        query_size, shared = self._nope + self._rope, self._latent + self._rope
        self._down = source.matrix(
            Part(f"{name}.q_a_proj.weight", (self._query_rank, hidden)),
            Part(f"{name}.kv_a_proj_with_mqa.weight", (shared, hidden)),
        )
        self._query_norm = Norm(source, kernels, f"{name}.q_a_layernorm", self._query_rank, 1e-6)
        self._latent_norm = Norm(source, kernels, f"{name}.kv_a_layernorm", self._latent, 1e-6)
        self._query_up = source.matrix(Part(f"{name}.q_b_proj.weight", (heads * query_size, self._query_rank), 0))
        expand = source.rows(
            Part(f"{name}.kv_b_proj.weight", (heads * (self._nope + self._value), self._latent), 0),
            dtype=kernels.activations,
        )
        expand_NDL = expand.view(self._heads, -1, self._latent)
        self._key_up_NPL, self._value_up_NVL = torch.split(expand_NDL, [self._nope, self._value], dim=1)
        self._out = source.matrix(Part(f"{name}.o_proj.weight", (hidden, heads * self._value), 1))
        if config.rope_interleave:
            self._order_rotary_halves(query_size)
        self._scale = query_size**-0.5 * _yarn_factor(config)
        # Expanding costs latent * (nope + value) a slot, absorbing 2 * latent - nope - value a slot and query.
        saved = 2 * self._latent - self._nope - self._value
        self._absorb_up_to = self._latent * (self._nope + self._value) // saved if saved > 0 else 2**31

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
        low_TD = kernels.linear(x_TH, self._down)
        query_low, latent, rotary_key = torch.split(low_TD, [self._query_rank, self._latent, self._rope], dim=-1)
        query_TND = kernels.linear(self._query_norm(query_low), self._query_up).view(len(x_TH), self._heads, -1)
        nope_TND, rope_TND = torch.split(query_TND, [self._nope, self._rope], dim=-1)
        rope_TND = kernels.rotate(rope_TND, cos_sin)
        rotary_key = kernels.rotate(rotary_key[:, None], cos_sin)
        new_T1D = torch.cat([self._latent_norm(latent)[:, None], rotary_key], dim=-1).to(cache.dtype)
        cache.write(layer, 0, new_T1D, plan)
        parts = []
        for group in plan.groups:
            nope, rope = nope_TND[group.tokens], rope_TND[group.tokens]
            if group.queries == 1:
                query = self._absorb(nope, rope)
                pool = cache.pool(layer, 0)
                mixed = kernels.attention(query, pool, pool, self._latent, group, self._scale)
                parts.append(self._release(mixed))
                continue
            context_RCD = cache.context(layer, 0, group, plan)[:, :, 0].to(x_TH.dtype)
            attend = self._absorbed if group.queries <= self._absorb_up_to else self._expanded
            parts.append(attend(group, nope, rope, context_RCD))
        mixed = parts[0] if len(parts) == 1 else torch.cat(parts)
        return kernels.linear(mixed, self._out)

    def _absorb(self, nope_QND: torch.Tensor, rope_QND: torch.Tensor) -> torch.Tensor:
        """Queries for cached rows: the key projection goes into the query."""
        latent_NQL = torch.bmm(nope_QND.transpose(0, 1), self._key_up_NPL)
        return torch.cat([latent_NQL.transpose(0, 1), rope_QND], dim=-1)

    def _release(self, mixed_QNL: torch.Tensor) -> torch.Tensor:
        """Mixed latents to values of all heads, [Q, N * V]."""
        return torch.bmm(mixed_QNL.transpose(0, 1), self._value_up_NVL.transpose(1, 2)).transpose(0, 1).flatten(1)

    def _absorbed(
        self, group: Group, nope_QND: torch.Tensor, rope_QND: torch.Tensor, context_RCD: torch.Tensor
    ) -> torch.Tensor:
        """Attention in the latent space: all heads share the context rows as they are cached."""
        query = self._absorb(nope_QND, rope_QND).view(group.rows, group.queries * self._heads, -1)
        scores = torch.bmm(query, context_RCD.transpose(1, 2)).view(group.rows, group.queries, self._heads, -1)
        scores = torch.add(group.mask().transpose(1, 2), scores, alpha=self._scale)
        shares = scores.softmax(-1, dtype=torch.float32).to(query.dtype).flatten(1, 2)
        return self._release(torch.bmm(shares, context_RCD[..., : self._latent]).view(-1, self._heads, self._latent))

    def _expanded(
        self, group: Group, nope_QND: torch.Tensor, rope_QND: torch.Tensor, context_RCD: torch.Tensor
    ) -> torch.Tensor:
        """Attention over keys and values made from the latents; for one row of many queries."""
        latent_CL, rotary_CD = torch.split(context_RCD[0], [self._latent, self._rope], dim=-1)
        key_nope = torch.matmul(latent_CL, self._key_up_NPL.transpose(1, 2))
        value = torch.matmul(latent_CL, self._value_up_NVL.transpose(1, 2))
        key = torch.cat([key_nope, rotary_CD.expand(self._heads, -1, -1)], dim=-1)
        query = torch.cat([nope_QND, rope_QND], dim=-1).transpose(0, 1)
        mask = group.mask_R1QC
        value = F.pad(value, (0, query.shape[-1] - self._value))  # torch's fast way wants one size for all
        query, key, value = (each[None].to(group.dtype) for each in (query, key, value))
        output = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=mask is None, scale=self._scale
        )
        return output[0, ..., : self._value].transpose(0, 1).flatten(1).to(nope_QND.dtype)

    def _order_rotary_halves(self, query_size: int) -> None:
        """Reorder projection rows once, so that the rotary part needs no reordering at every step."""
        order = halves(self._rope, self._rope)
        rows = torch.arange(self._query_up.shape[0]).view(self._heads, query_size)
        rows[:, self._nope :] = rows[:, self._nope :][:, order]
        self._query_up = self._query_up[rows.flatten()]
        rows = torch.arange(self._down.shape[0])
        rows[-self._rope :] = rows[-self._rope :][order]
        self._down = self._down[rows]


def _yarn_factor(config: PreTrainedConfig) -> float:
    """YaRN scales the scores with the context factor (Peng et al., 2023)."""
    rope = config.rope_parameters
    all_dims = rope.get("mscale_all_dim", 0)
    if rope["rope_type"] == "default" or not all_dims or rope["factor"] <= 1:
        return 1.0
    return float((0.1 * all_dims * math.log(rope["factor"]) + 1.0) ** 2)
