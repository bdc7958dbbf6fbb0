"""What a model computes with. Shapes: T tokens, N outputs, K inputs, H hidden, I intermediate, E experts, k a token,
R rows of one new token each, G query heads of a key head, D and V sizes of keys and values, P scored positions, S
tokens of a part of the vocabulary.
"""

from typing import Protocol

import torch

from seodang.runtime.attention import Group
from seodang.runtime.kernels.weight import Weight
from seodang.runtime.walk import Survey, TailDraws


class Kernels(Protocol):
    """The arithmetic of a decoder. Activations have ``activations``' dtype, whatever that of the weights."""

    activations: torch.dtype

    def context_dtype(self, cache: torch.dtype, tokens: int) -> torch.dtype:
        """In which prompts look at what such a cache holds, in a batch of so many tokens."""

    def linear(self, x_TK: torch.Tensor, weight_NK: Weight) -> torch.Tensor:
        """[T, N]"""

    def logits(self, x_TK: torch.Tensor, head_NK: torch.Tensor) -> torch.Tensor:
        """float32 [T, N], which no narrower dtype has rounded on the way where the machine can do without."""

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        """Root mean square norm of the last dimension."""

    def rotate(self, x_TND: torch.Tensor, cos_sin: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Rotate heads whose first and second half are the two coordinates; the first half of sin is negated."""

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
        """Queries [T, N, D] of all heads [T, N + K + K, D], normed and rotated; keys, which are too, and values go to
        their slots of the pools. ``norms`` are the weights for queries and for keys, if they are normed.
        """

    def gated(self, x_TH: torch.Tensor, gate_up_IH: Weight, down_HI: Weight) -> torch.Tensor:
        """down(silu(gate(x)) * up(x)); the rows of gate come before those of up."""

    def experts(
        self,
        x_TH: torch.Tensor,
        ids_Tk: torch.Tensor,
        weights_Tk: torch.Tensor,
        gate_up_EIH: Weight,
        down_EHI: Weight,
        first: int,
    ) -> torch.Tensor:
        """Weighted sum of gated experts ``first``.. ``first`` + E - 1, for the tokens that have chosen them: [T, H]."""

    def attention(
        self,
        query_RND: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        value_size: int,
        group: Group,
        scale: float,
    ) -> torch.Tensor:
        """One query token a row over its paged context: [R, N, V]. Pools are [blocks, slots, key heads, size]; values
        are the first ``value_size`` of each value cell.
        """

    def survey(self, survey: Survey, logits_PS: torch.Tensor, scale: float, first: int) -> None:
        """Add logits, times ``scale``, of the tokens from ``first`` on."""

    def draw_tail(self, draws: TailDraws, logits_PS: torch.Tensor, scale: float, first: int) -> None:
        """Draw what lies among the tokens from ``first`` on; a point beyond the last token takes the last with mass."""
