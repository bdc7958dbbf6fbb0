"""The loss over (hidden states, head) instead of logits, with a hand-written backward.

N positions, C positions of a chunk, V vocabulary, H width of the student. The gradient with respect to a chunk's logits
is known as soon as its loss is, so the forward pass turns it into gradients of hidden states and head at once and drops
it: at most a few C x V arrays live at a time, whatever N is.

Of a student that computes in bfloat16, states, head and their gradients are bfloat16, as are the products of matrices;
everything between them, and every sum over positions, is float32 or wider.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from seodang.base.errors import InvalidInput
from seodang.distillation.loss.divergence import Objective
from seodang.distillation.loss.signal import Signal

_CHUNK_ELEMENTS = 2**21
_MIN_CHUNK, _MAX_CHUNK = 64, 2048
_TILE_ROWS = 16


@dataclass(frozen=True)
class LossParts:
    """The loss to be minimised, and its two parts as they were measured (without gradient), each a weighted mean."""

    loss: Tensor
    divergence: Tensor
    """In nats a position at the objective's temperature, without T^2; 0 without a signal."""
    cross_entropy: Tensor
    """Of the labels, in nats a position at temperature 1; 0 where its weight is 0 and there is a signal."""


def distillation_loss(
    hidden_NH: Tensor,
    head_VH: Tensor,
    labels_N: Tensor,
    signal: Signal | None,
    objective: Objective,
    *,
    weights_N: Tensor | None = None,
    normalizer: float | None = None,
    chunk: int | None = None,
) -> LossParts:
    """The weighted mean loss of N positions of a student whose logits are ``hidden_NH @ head_VH.T``.

    Args:
        labels_N: int64, the right next tokens.
        signal: what the teacher said; None trains on the labels alone.
        weights_N: weight of each position; None weighs all alike.
        normalizer: what the weighted sum is divided by; None takes the sum of the weights. Gradient accumulation passes
            the sum over all of its parts.
        chunk: positions computed at a time; None takes what fits a cache.

    Raises:
        InvalidInput: the objective needs a signal and there is none.
        Unsupported: the signal's form cannot serve the objective.
    """
    if signal is None and objective.cross_entropy_weight < 1:
        raise InvalidInput("a divergence needs a teacher's signal: give one, or set cross_entropy_weight to 1")
    weights_N = torch.ones_like(labels_N, dtype=torch.float32) if weights_N is None else weights_N
    scale = float(weights_N.sum()) if normalizer is None else normalizer
    chunk = chunk or chunk_positions(head_VH)
    parts = _ChunkedLoss.apply(  # type: ignore[no-untyped-call]
        hidden_NH, head_VH, labels_N, weights_N / scale, signal, objective, chunk
    )
    return LossParts(*parts)


def chunk_positions(head_VH: Tensor) -> int:
    """Positions whose logits fit a cache, in whole rows of a processor's tiles."""
    count = min(max(_CHUNK_ELEMENTS // head_VH.shape[0], _MIN_CHUNK), _MAX_CHUNK)
    return count - count % _TILE_ROWS


class _ChunkedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_NH: Tensor,
        head_VH: Tensor,
        labels_N: Tensor,
        weights_N: Tensor,
        signal: Signal | None,
        objective: Objective,
        chunk: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        d_hidden_NH = torch.empty_like(hidden_NH) if ctx.needs_input_grad[0] else None
        wide = torch.promote_types(hidden_NH.dtype, torch.float32)
        d_head_VH = torch.zeros_like(head_VH, dtype=wide) if ctx.needs_input_grad[1] else None
        sums = torch.zeros(2, dtype=torch.float64, device=hidden_NH.device)
        for start in range(0, len(labels_N), chunk):
            rows = slice(start, min(start + chunk, len(labels_N)))
            part = None if signal is None else signal.rows(rows.start, rows.stop)
            values_2C, gradient_CV = _chunk_loss(hidden_NH[rows] @ head_VH.T, labels_N[rows], part, objective)
            sums += (values_2C * weights_N[rows]).sum(1)
            gradient_CV = gradient_CV.mul_(weights_N[rows, None]).to(hidden_NH.dtype)
            if d_hidden_NH is not None:
                torch.matmul(gradient_CV, head_VH, out=d_hidden_NH[rows])
            if d_head_VH is not None:
                _add_product(d_head_VH, gradient_CV.T, hidden_NH[rows])
        ctx.gradients = (d_hidden_NH, None if d_head_VH is None else d_head_VH.to(head_VH.dtype))
        share = objective.cross_entropy_weight
        divergence, cross_entropy = sums.to(wide)
        loss = divergence * ((1 - share) * objective.temperature**2) + cross_entropy * share
        ctx.mark_non_differentiable(divergence, cross_entropy)
        return loss, divergence, cross_entropy

    @staticmethod
    def backward(ctx: Any, d_loss: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        d_hidden_NH, d_head_VH = ctx.gradients
        return (
            None if d_hidden_NH is None else d_hidden_NH * d_loss.to(d_hidden_NH.dtype),
            None if d_head_VH is None else d_head_VH * d_loss.to(d_head_VH.dtype),
            *(None,) * 5,
        )


def _add_product(sum_VH: Tensor, gradient_VC: Tensor, hidden_CH: Tensor) -> None:
    """Adds the product to a sum that may be wider than its factors: over many chunks it must not be rounded."""
    if sum_VH.dtype == hidden_CH.dtype:
        sum_VH.addmm_(gradient_VC, hidden_CH)
    else:
        sum_VH.add_(gradient_VC @ hidden_CH)


def _chunk_loss(
    logits_CV: Tensor, labels_C: Tensor, signal: Signal | None, objective: Objective
) -> tuple[Tensor, Tensor]:
    """Divergence and cross-entropy, [2, C], and the gradient of the objective, [C, V], both at least float32."""
    logits_CV = logits_CV.to(torch.promote_types(logits_CV.dtype, torch.float32))
    temperature, share = objective.temperature, objective.cross_entropy_weight
    divergence_C = cross_entropy_C = torch.zeros_like(logits_CV[:, 0])
    gradient_CV: Tensor | None = None
    if signal is not None and share < 1:
        scaled_CV = logits_CV if temperature == 1 else logits_CV / temperature
        divergence_C, gradient_CV = signal.divergence(objective, scaled_CV.log_softmax(-1))
        # T^2 of the objective, and 1 / T of the logits.
        if (factor := (1 - share) * temperature) != 1:
            gradient_CV.mul_(factor)
    if share > 0:
        cross_entropy_C, hard_CV = _cross_entropy(logits_CV.log_softmax(-1), labels_C)
        gradient_CV = hard_CV if gradient_CV is None else gradient_CV.add_(hard_CV, alpha=share)
    assert gradient_CV is not None
    return torch.stack([divergence_C, cross_entropy_C]), gradient_CV


def _cross_entropy(log_q_CV: Tensor, labels_C: Tensor) -> tuple[Tensor, Tensor]:
    value_C = -log_q_CV.gather(1, labels_C[:, None])[:, 0]
    gradient_CV = log_q_CV.exp_()
    gradient_CV[torch.arange(len(labels_C), device=labels_C.device), labels_C] -= 1
    return value_C, gradient_CV
