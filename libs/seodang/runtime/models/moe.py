"""Mixture of experts as in DeepSeek-V3 and A.X K1: sigmoid scores, experts chosen within the best groups.

T tokens, E experts, G groups, k experts a token, H hidden, I intermediate.
"""

import torch
from transformers import PreTrainedConfig

from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.models.parts import GatedMLP
from seodang.runtime.weights import Part, Source


class Router:
    """Which experts see a token, and with what weight; computed in float32."""

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, name: str) -> None:
        self._kernels = kernels
        self._weight_EH = source.rows(
            Part(f"{name}.weight", (config.n_routed_experts, config.hidden_size)), dtype=torch.float32
        )
        bias = f"{name}.e_score_correction_bias"
        self._bias_E: torch.Tensor | None = None
        if source.entries is not None and source.has(bias):
            self._bias_E = source.rows(Part(bias, (config.n_routed_experts,)), dtype=torch.float32)
        self._groups = config.n_group
        self._kept_groups = config.topk_group
        self._k = config.num_experts_per_tok
        self._normalise = config.norm_topk_prob
        self._scale = config.routed_scaling_factor

    def __call__(self, x_TH: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and weights of the chosen experts, [T, k] each."""
        scores_TE = self._kernels.linear(x_TH.float(), self._weight_EH).sigmoid()
        choice_TE = scores_TE if self._bias_E is None else scores_TE + self._bias_E
        if self._kept_groups < self._groups:
            grouped_TGE = choice_TE.view(len(x_TH), self._groups, -1)
            strength_TG = grouped_TGE.topk(2, dim=-1).values.sum(-1)
            lost_TG = strength_TG.topk(self._groups - self._kept_groups, dim=-1, largest=False).indices
            dropped_TG = torch.zeros_like(strength_TG).scatter_(1, lost_TG, -torch.inf)
            choice_TE = (grouped_TGE + dropped_TG[..., None]).flatten(1)
        ids_Tk = choice_TE.topk(self._k, dim=-1).indices
        weights_Tk = scores_TE.gather(1, ids_Tk)
        if self._normalise:
            weights_Tk = weights_Tk / (weights_Tk.sum(-1, keepdim=True) + 1e-20)
        return ids_Tk, weights_Tk * self._scale


class Experts:
    """This rank's experts; a token's missing ones are other ranks' summands."""

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, name: str) -> None:
        hidden, width = config.hidden_size, config.moe_intermediate_size
        self._kernels = kernels

        def wide(expert: int) -> tuple[Part, ...]:
            return tuple(Part(f"{name}.{expert}.{kind}_proj.weight", (width, hidden), 0) for kind in ("gate", "up"))

        def narrow(expert: int) -> tuple[Part, ...]:
            return (Part(f"{name}.{expert}.down_proj.weight", (hidden, width), 1),)

        self._gate_up_EIH = source.experts(config.n_routed_experts, wide)
        self._down_EHI = source.experts(config.n_routed_experts, narrow)
        self._first = source.seat.experts(config.n_routed_experts).start

    def __call__(self, x_TH: torch.Tensor, ids_Tk: torch.Tensor, weights_Tk: torch.Tensor) -> torch.Tensor:
        """Weighted sum of this rank's chosen experts, [T, H]."""
        return self._kernels.experts(x_TH, ids_Tk, weights_Tk, self._gate_up_EIH, self._down_EHI, self._first)


class MixtureOfExperts:
    """Routed experts and the shared one. The result is this rank's summand."""

    def __init__(self, config: PreTrainedConfig, source: Source, kernels: Kernels, name: str) -> None:
        self._router = Router(config, source, kernels, f"{name}.gate")
        self._experts = Experts(config, source, kernels, f"{name}.experts")
        width = config.moe_intermediate_size * config.n_shared_experts
        self._shared = GatedMLP(source, kernels, f"{name}.shared_experts", config.hidden_size, width)

    def __call__(self, x_TH: torch.Tensor) -> torch.Tensor:
        """[T, H] to [T, H]."""
        return self._experts(x_TH, *self._router(x_TH)).add_(self._shared(x_TH))
