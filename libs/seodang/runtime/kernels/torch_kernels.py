"""Every kernel in plain torch: for any device, for many tokens at once, and as the reference for the others."""

from collections.abc import Callable
from typing import Final, TypeAlias

import torch
import torch.nn.functional as F

from seodang.runtime.attention import Group, attend
from seodang.runtime.kernels.weight import Int4, Int8, Weight
from seodang.runtime.walk import Survey, TailDraws

PART_FLOATS: Final = 4 * 2**20
"""Logits that are surveyed together: their several intermediate results should not need much room."""
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

    def logits(self, x_TK: torch.Tensor, head_NK: torch.Tensor) -> torch.Tensor:
        """float32 [T, N], rounded to the dtype of the activations."""
        return self.linear(x_TK, head_NK).float()

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

    def survey(self, survey: Survey, logits_PS: torch.Tensor, scale: float, first: int) -> None:
        """Add logits of the tokens from ``first`` on."""
        for part in torch.split(logits_PS, max(1, PART_FLOATS // len(logits_PS)), dim=1):
            x_PS = part * scale
            peak_P = torch.maximum(survey.peak_P, x_PS.amax(-1).double())
            below_PS = x_PS - peak_P[:, None].float()
            weights_PS = below_PS.exp()
            drop_P = torch.where(survey.mass_P > 0, survey.peak_P - peak_P, 0.0)
            moment_P = (weights_PS * below_PS).sum(-1, dtype=torch.float64)
            survey.moment_P = (survey.moment_P + survey.mass_P * drop_P) * drop_P.exp() + moment_P
            survey.mass_P = survey.mass_P * drop_P.exp() + weights_PS.sum(-1, dtype=torch.float64)
            survey.peak_P = peak_P
            if top_k := survey.top_ids_Pk.shape[1]:
                values, columns = x_PS.topk(min(top_k, x_PS.shape[1]), dim=-1)
                values = torch.cat([survey.top_values_Pk, values], dim=-1)
                ids = torch.cat([survey.top_ids_Pk, columns + first], dim=-1)
                survey.top_values_Pk, order = values.topk(top_k, dim=-1)
                survey.top_ids_Pk = ids.gather(1, order)
            first += x_PS.shape[1]

    def draw_tail(self, draws: TailDraws, logits_PS: torch.Tensor, scale: float, first: int) -> None:
        """Draw what lies among the tokens from ``first`` on."""
        for part in torch.split(logits_PS, max(1, PART_FLOATS // len(logits_PS)), dim=1):
            size = part.shape[1]
            logprobs_PS = part * scale - draws.normaliser_P[:, None].float()
            mass_PS = logprobs_PS.exp()
            if draws.head_ids_Pk.shape[1]:
                elsewhere = (draws.head_ids_Pk < first) | (draws.head_ids_Pk >= first + size)
                columns = (draws.head_ids_Pk - first).clamp(0, size - 1)
                keep = torch.ones_like(mass_PS).scatter_reduce_(1, columns, elsewhere.to(mass_PS.dtype), "prod")
                mass_PS = mass_PS * keep
            before_P1 = draws.before_P[:, None]
            cumulative_PS = before_P1 + mass_PS.cumsum(-1, dtype=torch.float64)
            end_P1 = cumulative_PS[:, -1:]
            last_P1 = size - 1 - (mass_PS.flip(-1) > 0).int().argmax(-1, keepdim=True)
            column_Pn = torch.minimum(torch.searchsorted(cumulative_PS, draws.points_Pn, right=True), last_P1)
            # Points at or past this part's start take their token here; a later part overrides those past its end.
            here = (draws.points_Pn >= before_P1) & (end_P1 > before_P1) & (draws.tail_P > 0)[:, None]
            draws.ids_Pn = torch.where(here, column_Pn + first, draws.ids_Pn)
            draws.logprobs_Pn = torch.where(here, logprobs_PS.gather(1, column_Pn), draws.logprobs_Pn)
            draws.before_P = end_P1[:, 0]
            first += size
