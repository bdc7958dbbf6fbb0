"""One rank's model at work: batches to hidden states, and hidden states to logits of any part of the vocabulary.

Every rank of a group calls the same methods in the same order. T tokens, N outputs, V vocabulary, H hidden size.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import torch
import torch.distributed as dist
from transformers import PreTrainedConfig

from seodang.base.errors import InvalidInput
from seodang.runtime.attention import BLOCK_TOKENS, AttentionPlan
from seodang.runtime.batch import Batch
from seodang.runtime.cache import PagedCache
from seodang.runtime.decoder import Decoder
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.sharding import Shard
from seodang.worker.messages import DType

DTYPES: Final[dict[DType, torch.dtype]] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "int8": torch.bfloat16,
    "int4": torch.bfloat16,
}
"""Of cache and weights; with int8 and int4, of all weights but the layers' matrices."""
Outputs: TypeAlias = slice | tuple[int, ...]
"""Rows of the last batch's outputs."""


class Announce(Protocol):
    """Tells the other ranks of the group what this one is about to compute, so that they compute it too."""

    def forward(self, batch: Batch) -> None:
        """A batch."""

    def logits(self, outputs: Outputs, vocabulary: slice) -> None:
        """Logits of the last batch."""

    def head(self, vocabulary: slice) -> None:
        """Rows of the output head."""


class Silence:
    """Announces nothing: there is no other rank, or another rank leads."""

    def forward(self, batch: Batch) -> None:
        """Nobody to tell."""

    def logits(self, outputs: Outputs, vocabulary: slice) -> None:
        """Nobody to tell."""

    def head(self, vocabulary: slice) -> None:
        """Nobody to tell."""


class Executor:
    """A decoder with its cache, in its place among the ranks."""

    def __init__(
        self,
        decoder: Decoder,
        config: PreTrainedConfig,
        part: Shard,
        kernels: Kernels,
        dtype: torch.dtype,
        cache_bytes: int,
    ) -> None:
        self.config = config
        self.dtype = dtype
        """Of weights and cache; what is computed in between has the kernels' dtype."""
        self.kernels = kernels
        self.device = part.device
        self.vocab_size: int = config.vocab_size
        self.announce: Announce = Silence()
        self._decoder = decoder
        self._part = part
        self._hidden_NH = torch.empty(0)
        shapes = decoder.cache_shapes()
        per_block = sum(shape.bytes_per_token(dtype) for shape in shapes.values()) * BLOCK_TOKENS
        blocks = min(cache_bytes // per_block, 2**31 // BLOCK_TOKENS)
        if blocks < 2:
            raise InvalidInput(
                f"cache_bytes={cache_bytes} is less than two blocks of {per_block} bytes", field="options.cache_bytes"
            )
        self.cache = PagedCache(shapes, blocks, dtype, part.device)

    @torch.inference_mode()
    def forward(self, batch: Batch) -> torch.Tensor:
        """Compute the batch and store it in the cache; returns the final hidden states of its outputs, [N, H]."""
        self.announce.forward(batch)
        dtype = self.kernels.context_dtype(self.dtype, len(batch.tokens_T))
        plan = AttentionPlan.of(batch, dtype, self.device)
        stage = self._part.stage
        received: torch.Tensor | None = None
        if not stage.is_first:
            shape = (len(batch.tokens_T), self.config.hidden_size)
            received = torch.empty(shape, dtype=self.kernels.activations, device=self.device)
            dist.recv(received, stage.previous, group=stage.group)
        hidden_TH = self._decoder.forward(plan, received, self.cache)
        if not stage.is_last:
            dist.send(hidden_TH.contiguous(), stage.next, group=stage.group)
        self._hidden_NH = hidden_TH.index_select(0, plan.outputs_N)
        if stage.count > 1:
            dist.broadcast(self._hidden_NH, stage.last, group=stage.group)
        return self._hidden_NH

    def hidden(self, outputs: Outputs) -> torch.Tensor:
        """Final hidden states [outputs, H] of the last batch."""
        return self._hidden_NH[outputs if isinstance(outputs, slice) else list(outputs)]

    @torch.inference_mode()
    def logits(self, outputs: Outputs, vocabulary: slice) -> torch.Tensor:
        """float32 logits [outputs, vocabulary] of the last batch, the same on every rank."""
        self.announce.logits(outputs, vocabulary)
        hidden = self.hidden(outputs)

        def of(weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            logits = self.kernels.logits(hidden, weight)
            return (logits if bias is None else logits + bias).T

        return self._from_head(of, vocabulary, len(hidden)).T

    @torch.inference_mode()
    def head(self, vocabulary: slice) -> torch.Tensor:
        """float32 rows [vocabulary, H] of the output head, the same on every rank."""
        self.announce.head(vocabulary)
        return self._from_head(lambda weight, _: weight.float(), vocabulary, self.config.hidden_size)

    def _from_head(
        self, compute: Callable[[torch.Tensor, torch.Tensor | None], torch.Tensor], vocabulary: slice, width: int
    ) -> torch.Tensor:
        """[vocabulary, width], computed where the rows of the head are and brought to every rank."""
        stage, tp_group, head = self._part.stage, self._part.tp_group, self._decoder.head
        result: torch.Tensor | None = None
        if head is not None:
            begin, end = head.first_row, head.first_row + len(head.weight_VH)
            low, high = max(begin, vocabulary.start), min(end, vocabulary.stop)
            local = slice(low - begin, high - begin)
            if low < high:
                result = compute(head.weight_VH[local], None if head.bias_V is None else head.bias_V[local])
            if tp_group is not None:
                part = torch.zeros(vocabulary.stop - vocabulary.start, width, device=self.device)
                if result is not None:
                    part[low - vocabulary.start : high - vocabulary.start] = result
                dist.all_reduce(part, group=tp_group)  # every row comes from one rank: adding zeros is exact
                result = part
        if stage.count > 1:
            if result is None:
                result = torch.empty(vocabulary.stop - vocabulary.start, width, device=self.device)
            result = result.contiguous()
            dist.broadcast(result, stage.last, group=stage.group)
        assert result is not None
        return result
