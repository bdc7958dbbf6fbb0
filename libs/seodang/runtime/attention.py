"""Attention over a ragged batch: each row sees its own cached tokens and its own new ones, nothing else.

Rows are attended in groups: first all rows of a single token together, padded to the longest context; then each longer
row by itself. R rows, Q queries a row, C context slots, N query heads, K key heads, D head size, T tokens of the batch.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F

from seodang.runtime.batch import Batch

BLOCK_TOKENS: Final = 16


@dataclass(frozen=True, slots=True)
class Group:
    """Rows attended together: ``rows`` rows of ``queries`` tokens each, behind ``context`` cached slots each."""

    rows: int
    queries: int
    first_token: int
    context: int
    blocks: torch.Tensor | None
    """Blocks to gather, [rows * context / BLOCK_TOKENS]; None: the new tokens are the whole context."""
    positions_RQ: torch.Tensor
    """Position of each query."""
    mask_R1QC: torch.Tensor | None
    """Added to the scores; None: plain causal."""
    dtype: torch.dtype
    """In which a row of several queries looks at its context."""
    lengths_R: torch.Tensor | None = None
    """int32 slots that each row of a single query looks at."""

    @property
    def tokens(self) -> slice:
        """The group's tokens in the batch."""
        return slice(self.first_token, self.first_token + self.rows * self.queries)

    def mask(self, window: int | None = None) -> torch.Tensor:
        """0 where a query may look, -inf elsewhere: [R, 1, Q, C]; with ``window``, only at that many last tokens."""
        if self.mask_R1QC is not None and (window is None or window >= self.context):
            return self.mask_R1QC
        return _mask(self.positions_RQ, self.context, self.dtype, window)


@dataclass(frozen=True, slots=True)
class AttentionPlan:
    """A batch as the tensors that every layer needs, made once a step."""

    tokens_T: torch.Tensor
    positions_T: torch.Tensor
    write_slots_T: torch.Tensor
    """Where each new token's cache entry goes: block * BLOCK_TOKENS + offset."""
    outputs_N: torch.Tensor
    groups: tuple[Group, ...]

    @classmethod
    def of(cls, batch: Batch, dtype: torch.dtype, device: torch.device) -> "AttentionPlan":
        """Lay out a batch; ``dtype`` is that of the groups."""
        lengths, starts = batch.lengths_B, batch.starts_B
        row_of_token = np.repeat(np.arange(len(lengths)), lengths)
        firsts = np.cumsum(lengths) - lengths
        positions = np.arange(len(batch.tokens_T)) - firsts[row_of_token] + starts[row_of_token]
        blocks = batch.tables_BM[row_of_token, positions // BLOCK_TOKENS].astype(np.int64)
        singles = batch.singles
        groups = [_single_token_group(batch, singles, dtype, device)] if singles else []
        for row in range(singles, len(lengths)):
            groups.append(_chunk_group(batch, row, int(firsts[row]), dtype, device))
        return cls(
            tokens_T=torch.from_numpy(batch.tokens_T.astype(np.int64)).to(device),
            positions_T=torch.from_numpy(positions).to(device),
            write_slots_T=torch.from_numpy(blocks * BLOCK_TOKENS + positions % BLOCK_TOKENS).to(device),
            outputs_N=torch.from_numpy(batch.outputs_N.astype(np.int64)).to(device),
            groups=tuple(groups),
        )


def _single_token_group(batch: Batch, rows: int, dtype: torch.dtype, device: torch.device) -> Group:
    positions = torch.from_numpy(batch.starts_B[:rows].astype(np.int64)).to(device)[:, None]
    blocks = int(batch.starts_B[:rows].max()) // BLOCK_TOKENS + 1
    # flatten, not reshape: kernels read the table as it lies, and a view of one column lies apart.
    table = torch.from_numpy(batch.tables_BM[:rows, :blocks].flatten()).to(device)
    mask = _mask(positions, blocks * BLOCK_TOKENS, dtype)
    lengths = torch.from_numpy(batch.starts_B[:rows] + 1).to(device)
    return Group(rows, 1, 0, blocks * BLOCK_TOKENS, table, positions, mask, dtype, lengths)


def _chunk_group(batch: Batch, row: int, first: int, dtype: torch.dtype, device: torch.device) -> Group:
    length, start = int(batch.lengths_B[row]), int(batch.starts_B[row])
    positions = torch.arange(start, start + length, device=device)[None]
    if start == 0:
        return Group(1, length, first, length, None, positions, None, dtype)
    blocks = (start + length - 1) // BLOCK_TOKENS + 1
    table = torch.from_numpy(batch.tables_BM[row, :blocks]).to(device)
    mask = _mask(positions, blocks * BLOCK_TOKENS, dtype)
    return Group(1, length, first, blocks * BLOCK_TOKENS, table, positions, mask, dtype)


def _mask(positions_RQ: torch.Tensor, context: int, dtype: torch.dtype, window: int | None = None) -> torch.Tensor:
    slots = torch.arange(context, device=positions_RQ.device)
    hidden = slots > positions_RQ[..., None]
    if window is not None:
        hidden |= slots <= positions_RQ[..., None] - window
    mask = torch.zeros(hidden.shape, dtype=dtype, device=positions_RQ.device)
    return mask.masked_fill_(hidden, float("-inf"))[:, None]


def attend(
    group: Group,
    query_TND: torch.Tensor,
    key_RCKD: torch.Tensor,
    value_RCKD: torch.Tensor,
    *,
    scale: float | None = None,
    window: int | None = None,
) -> torch.Tensor:
    """Scaled dot-product attention of one group, whose tokens ``query_TND`` holds: [T, N, D]."""
    heads, key_heads = query_TND.shape[1], key_RCKD.shape[2]
    key, value = (each.transpose(1, 2).to(group.dtype) for each in (key_RCKD, value_RCKD))
    if group.queries == 1:
        # One query a row: the query heads of a key head become its queries, so no key is copied.
        query = query_TND.view(group.rows, key_heads, heads // key_heads, -1).to(group.dtype)
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=group.mask(window), scale=scale)
        return output.flatten(1, 2).to(query_TND.dtype)
    causal = group.mask_R1QC is None and (window is None or window >= group.context)
    output = F.scaled_dot_product_attention(
        query_TND.transpose(0, 1)[None].to(group.dtype),
        key,
        value,
        attn_mask=None if causal else group.mask(window),
        is_causal=causal,
        scale=scale,
        enable_gqa=heads != key_heads,
    )
    return output[0].transpose(0, 1).to(query_TND.dtype)
