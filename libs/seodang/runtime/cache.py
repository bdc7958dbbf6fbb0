"""The paged cache: what each layer keeps of a token, in blocks of tokens that any sequence can hold.

A layer of A.X K1 keeps one row, its compressed latent and rotary key; a layer of Llama keeps keys and values of every
key head. R rows of a group, C context slots, T new tokens, K heads, D head size.
"""

from dataclasses import dataclass

import torch

from seodang.runtime.attention import BLOCK_TOKENS, AttentionPlan, Group


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What one layer keeps of one token: heads and size of each of its entries."""

    entries: tuple[tuple[int, int], ...]

    def bytes_per_token(self, dtype: torch.dtype) -> int:
        """Bytes of one token in this layer."""
        return sum(heads * size for heads, size in self.entries) * dtype.itemsize


class PagedCache:
    """Pools of blocks, one for each entry of each layer. Block 0 stays zero and pads block tables."""

    def __init__(self, shapes: dict[int, LayerShape], blocks: int, dtype: torch.dtype, device: torch.device) -> None:
        self.blocks = blocks
        self.dtype = dtype
        self.bytes_per_token = sum(shape.bytes_per_token(dtype) for shape in shapes.values())
        self._pools = {
            (layer, entry): torch.zeros(blocks, BLOCK_TOKENS, heads, size, dtype=dtype, device=device)
            for layer, shape in shapes.items()
            for entry, (heads, size) in enumerate(shape.entries)
        }

    def pool(self, layer: int, entry: int) -> torch.Tensor:
        """All cells of an entry: [blocks, BLOCK_TOKENS, K, D]."""
        return self._pools[layer, entry]

    def write(self, layer: int, entry: int, new_TKD: torch.Tensor, plan: AttentionPlan) -> None:
        """Store the new tokens of a batch, which have the cache's dtype."""
        pool = self._pools[layer, entry]
        pool.view(-1, *pool.shape[2:]).index_copy_(0, plan.write_slots_T, new_TKD)

    def context(self, layer: int, entry: int, group: Group, plan: AttentionPlan) -> torch.Tensor:
        """What a group's rows look at, with their new tokens, which are written already: [R, C, K, D]."""
        pool = self._pools[layer, entry]
        if group.blocks is None:
            return pool.view(-1, *pool.shape[2:]).index_select(0, plan.write_slots_T[group.tokens])[None]
        return pool.index_select(0, group.blocks).view(group.rows, group.context, *pool.shape[2:])
