"""Any other causal LM of transformers: its own layers, driven over our batches and our cache.

The batch is one flat sequence of T tokens to the model. Keys and values come back as one flat sequence too, context
after context in the order of the plan's groups. K key heads, C context slots, D head size.
"""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch.distributed.tensor import DTensor
from transformers import AttentionInterface, PreTrainedModel
from transformers.cache_utils import Cache

from seodang.base.errors import Unsupported
from seodang.runtime.attention import AttentionPlan, attend
from seodang.runtime.batch import Batch, Row
from seodang.runtime.cache import LayerShape, PagedCache
from seodang.runtime.models.parts import Head
from seodang.runtime.sharding import Shard

IMPLEMENTATION: Final = "seodang_ragged"


class Foreign:
    """One rank's part of a transformers model (``seodang.runtime.decoder.Decoder``)."""

    def __init__(self, model: PreTrainedModel, part: Shard) -> None:
        AttentionInterface.register(IMPLEMENTATION, _ragged_attention)
        model.config._attn_implementation = IMPLEMENTATION
        self._model = model
        self._dtype: torch.dtype = next(p.dtype for p in model.parameters() if p.ndim > 1)
        self._part = part
        self.head = _local_head(model, part)

    @torch.inference_mode()
    def cache_shapes(self) -> dict[int, LayerShape]:
        """Found out by a forward pass; each stage goes alone, on made-up input."""
        probe = _ShapeProbe()
        plan = AttentionPlan.of(Batch.of([Row((0, 0), 0, (0,), slice(0, 0))]), self._dtype, self._part.device)
        made_up = torch.zeros(2, self._model.config.hidden_size, dtype=self._dtype, device=self._part.device)
        self._run(plan, None if self._part.stage.is_first else made_up, probe)
        return probe.shapes

    def forward(self, plan: AttentionPlan, received_TH: torch.Tensor | None, cache: PagedCache) -> torch.Tensor:
        """This stage's layers over the batch: [T, H]."""
        return self._run(plan, received_TH, _CacheView(cache, plan))

    def own_logits(self, tokens: Sequence[int]) -> torch.Tensor:
        """Logits [T, V] by the model's own forward pass, as it computes them without us."""
        self._model.config._attn_implementation = "sdpa"
        try:
            logits: torch.Tensor = self._model(torch.tensor([tokens], device=self._part.device), use_cache=False).logits
        finally:
            self._model.config._attn_implementation = IMPLEMENTATION
        return logits[0].float()

    def _run(self, plan: AttentionPlan, received_TH: torch.Tensor | None, cache: Cache) -> torch.Tensor:
        inputs = {"input_ids": plan.tokens_T[None]} if received_TH is None else {"inputs_embeds": received_TH[None]}
        output = self._model.base_model(
            **inputs, position_ids=plan.positions_T[None], cache=cache, use_cache=True, attention_plan=plan
        )
        hidden_1TH: torch.Tensor = output.last_hidden_state
        return hidden_1TH[0]


class _ShapeProbe(Cache):  # type: ignore[misc]
    """Stands in for a cache for one forward pass, and notes what each layer wants to keep."""

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self.shapes: dict[int, LayerShape] = {}

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Note the shapes and return the new tokens as the whole context."""
        self.shapes[layer_idx] = LayerShape(((keys.shape[1], keys.shape[3]), (values.shape[1], values.shape[3])))
        return keys, values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions are always given, so nobody needs this."""
        return 0


class _CacheView(Cache):  # type: ignore[misc]
    """Our cache as a model's layers use one, for the length of one batch."""

    def __init__(self, cache: PagedCache, plan: AttentionPlan) -> None:
        self.layers: list[Any] = []
        self._cache = cache
        self._plan = plan

    def update(
        self, keys: torch.Tensor, values: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep the new tokens and return the contexts of all groups, one after the other."""
        return self._entry(layer_idx, 0, keys), self._entry(layer_idx, 1, values)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions are always given, so nobody needs this."""
        return 0

    def _entry(self, layer: int, entry: int, new_1KTD: torch.Tensor) -> torch.Tensor:
        new_TKD = new_1KTD[0].transpose(0, 1)
        self._cache.write(layer, entry, new_TKD, self._plan)
        contexts = [self._cache.context(layer, entry, group, self._plan).flatten(0, 1) for group in self._plan.groups]
        context_CKD = contexts[0] if len(contexts) == 1 else torch.cat(contexts)
        return context_CKD.transpose(0, 1)[None]


def _ragged_attention(  # noqa: PLR0913  the interface is given
    module: torch.nn.Module,
    query_1NTD: torch.Tensor,
    key_1KCD: torch.Tensor,
    value_1KCD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    attention_plan: AttentionPlan,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: [1, T, N, D]."""
    if softcap is not None or s_aux is not None:
        raise Unsupported(f"{type(module).__name__} caps its scores or has attention sinks, which are not implemented")
    query_TND, key_CKD, value_CKD = (x[0].transpose(0, 1) for x in (query_1NTD, key_1KCD, value_1KCD))
    parts, begin = [], 0
    for group in attention_plan.groups:
        end = begin + group.rows * group.context
        shape = (group.rows, group.context)
        key = key_CKD[begin:end].reshape(*shape, *key_CKD.shape[1:])
        value = value_CKD[begin:end].reshape(*shape, *value_CKD.shape[1:])
        parts.append(attend(group, query_TND[group.tokens], key, value, scale=scaling, window=sliding_window))
        begin = end
    output_TND = parts[0] if len(parts) == 1 else torch.cat(parts)
    return output_TND[None], None


def _local_head(model: PreTrainedModel, part: Shard) -> Head | None:
    head = model.get_output_embeddings()
    weight = getattr(head, "weight", None)
    if weight is None:
        return None  # another pipeline stage has it
    bias = getattr(head, "bias", None)
    if not isinstance(weight, DTensor):
        return Head(weight.data, None if bias is None else bias.data, 0)
    width = -(-weight.shape[0] // weight.device_mesh.size())
    return Head(weight.to_local(), None if bias is None else bias.to_local(), width * part.seat.tp_rank)
