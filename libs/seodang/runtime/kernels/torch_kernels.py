"""Every kernel in plain torch: for any device, for many tokens at once, and as the reference for the others."""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.nn.functional as F

from seodang.runtime.attention import Group, attend
from seodang.runtime.kernels.weight import Int4, Int8, Weight

Widen: TypeAlias = Callable[[Int4, torch.dtype], torch.Tensor]


class TorchKernels:
    """See ``seodang.runtime.kernels.interface.Kernels``."""

    def __init__(self, activations: torch.dtype, widen: Widen = lambda weight, dtype: weight.wide(dtype)) -> None:
        """``widen`` makes a tensor of an int4 matrix."""
        self.activations = activations
        self._widen = widen

    def context_dtype(self, cache: torch.dtype, tokens: int) -> torch.dtype:
        """The activations'."""
        del cache, tokens
        return self.activations

    def linear(self, x_TK: torch.Tensor, weight_NK: Weight) -> torch.Tensor:
        """[T, N]"""
        if isinstance(weight_NK, torch.Tensor):
            return F.linear(x_TK, weight_NK)
        if isinstance(weight_NK, Int8):  # what int8 holds is exact in every dtype, times its scale it would not be
            return (F.linear(x_TK, weight_NK.values.to(x_TK.dtype)) * weight_NK.scales).to(x_TK.dtype)
        return F.linear(x_TK, self._widen(weight_NK, x_TK.dtype))

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Root mean square norm of the last dimension."""
        return F.rms_norm(x, weight.shape, weight, epsilon)

    def rotate(self, x_TND: torch.Tensor, cos_sin: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Rotate heads whose first and second half are the two coordinates."""
        cos, sin = cos_sin
        return torch.addcmul(x_TND * cos, x_TND.roll(x_TND.shape[-1] // 2, -1), sin)

    def place_heads(
        self,
        qkv_THD: torch.Tensor,
        norms: tuple[torch.Tensor, torch.Tensor] | None,
        epsilon: float,
        cos_sin: tuple[torch.Tensor, torch.Tensor],
        keys: torch.Tensor,
        values: torch.Tensor,
        slots_T: torch.Tensor,
    ) -> torch.Tensor:
        """Queries [T, N, D]; keys and values to their slots."""
        key_heads = keys.shape[2]
        sizes = [qkv_THD.shape[1] - 2 * key_heads, key_heads, key_heads]
        query_TND, key_TKD, value_TKD = torch.split(qkv_THD, sizes, dim=1)
        if norms is not None:
            query_TND = self.rms_norm(query_TND, norms[0], epsilon)
            key_TKD = self.rms_norm(key_TKD, norms[1], epsilon)
        for pool, new_TKD in ((keys, self.rotate(key_TKD, cos_sin)), (values, value_TKD)):
            pool.view(-1, *pool.shape[2:]).index_copy_(0, slots_T, new_TKD.to(pool.dtype))
        return self.rotate(query_TND, cos_sin)

    def gated(self, x_TH: torch.Tensor, gate_up_IH: Weight, down_HI: Weight) -> torch.Tensor:
        """down(silu(gate(x)) * up(x))"""
        gate, up = self.linear(x_TH, gate_up_IH).chunk(2, dim=-1)
        return self.linear(F.silu(gate) * up, down_HI)

    def experts(
        self,
        x_TH: torch.Tensor,
        ids_Tk: torch.Tensor,
        weights_Tk: torch.Tensor,
        gate_up_EIH: Weight,
        down_EHI: Weight,
        first: int,
    ) -> torch.Tensor:
        """Weighted sum of each token's chosen experts: [T, H]."""
        order = ids_Tk.flatten().argsort(stable=True)
        experts = down_EHI.shape[0]
        counts = ids_Tk.flatten().bincount(minlength=first + experts).tolist()
        token_of = order // ids_Tk.shape[1]
        weight_of = weights_Tk.flatten()[order].to(x_TH.dtype)
        out_TH = torch.zeros_like(x_TH)
        begin = sum(counts[:first])
        for expert, count in enumerate(counts[first : first + experts]):
            if count:
                pairs = slice(begin, begin + count)
                result = self.gated(x_TH[token_of[pairs]], gate_up_EIH[expert], down_EHI[expert])
                out_TH.index_add_(0, token_of[pairs], result * weight_of[pairs, None])
            begin += count
        return out_TH

    def attention(
        self,
        query_RND: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        value_size: int,
        group: Group,
        scale: float,
    ) -> torch.Tensor:
        """One query token a row over its paged context: [R, N, V]."""
        assert group.blocks is not None
        shape = (group.rows, group.context)
        key = keys.index_select(0, group.blocks).view(*shape, *keys.shape[2:])
        value = key if values is keys else values.index_select(0, group.blocks).view(*shape, *values.shape[2:])
        return attend(group, query_RND, key, value[..., :value_size], scale=scale)
