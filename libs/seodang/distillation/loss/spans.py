"""The loss across tokenizers: a student's probability of each span of a text against its teacher's.

Approximate likelihood matching (Minixhofer, Vulić and Ponti, NeurIPS 2025): a span of several tokens has too many
alternatives to compare them all, so each model's distribution over it is folded into two outcomes, this span and any
other, and a divergence of those is taken. At temperature 1 it bounds the whole divergence from below, by the
data-processing inequality; at any temperature it is zero only where the two agree on the text.

N positions of the student, S spans, G teachers, V vocabulary, H width.
"""

from dataclasses import dataclass, replace
from typing import Final, Self

import torch
from torch import Tensor

from seodang.distillation.loss.chunked import LossParts, chunk_positions, distillation_loss
from seodang.distillation.loss.divergence import Objective

_LEAST_SURPRISAL: Final = 1e-6
"""Nats to the power 1/T below which a probability counts as this much: its complement must have a logarithm."""
_LABELS: Final = Objective(cross_entropy_weight=1.0)


@dataclass(frozen=True)
class SpanSignal:
    """What teachers of another tokenizer said of the text that N positions of the student predict."""

    span_N: Tensor
    """int64, the span that each position's label belongs to, 0 to S - 1."""
    log_probs_GS: Tensor
    """Each teacher's log-probability of each span, given all that comes before it."""
    shares: tuple[float, ...]
    """Weight of each teacher's divergence."""

    def to(self, device: torch.device) -> Self:
        """The same signal on a device."""
        return replace(self, span_N=self.span_N.to(device), log_probs_GS=self.log_probs_GS.to(device))


def span_loss(
    hidden_NH: Tensor,
    head_VH: Tensor,
    labels_N: Tensor,
    signal: SpanSignal,
    objective: Objective,
    *,
    normalizer: float | None = None,
    chunk: int | None = None,
) -> LossParts:
    """The loss of N positions that the spans divide among them, summed over spans and divided by positions.

    The objective's temperature T is the paper's: probabilities of spans are taken to the power 1/T, or the many long
    and unlikely ones would all look the same. Multiplying the divergence by T keeps the size of its gradient.

    Args:
        labels_N: int64, the text's own next tokens.
        normalizer: what both sums are divided by; None takes N.
        chunk: positions computed at a time; None takes what fits a cache.
    """
    scale = float(len(labels_N)) if normalizer is None else normalizer
    share, temperature = objective.cross_entropy_weight, objective.temperature
    log_q_N = _label_log_probs(hidden_NH.detach(), head_VH.detach(), labels_N, chunk or chunk_positions(head_VH))
    log_q_S = log_q_N.new_zeros(signal.log_probs_GS.shape[1]).index_add_(0, signal.span_N, log_q_N)
    divergence_S, slope_S = _folded(objective, signal, log_q_S)
    divergence, cross_entropy = divergence_S.sum() / scale, -log_q_N.sum() / scale
    value = divergence * ((1 - share) * temperature) + cross_entropy * share
    # The gradient with respect to a span's log-probability is that of each of its labels, so the chunked cross-entropy,
    # so weighted, has the gradient of this loss.
    weights_N = share - (1 - share) * temperature * slope_S[signal.span_N]
    weighted = distillation_loss(
        hidden_NH, head_VH, labels_N, None, _LABELS, weights_N=weights_N, normalizer=scale, chunk=chunk
    ).loss
    return LossParts(weighted + (value - weighted.detach()), divergence, cross_entropy)


def _label_log_probs(hidden_NH: Tensor, head_VH: Tensor, labels_N: Tensor, chunk: int) -> Tensor:
    """[N] the student's log-probability of each label, at least float32."""
    parts = []
    for start in range(0, len(labels_N), chunk):
        rows = slice(start, start + chunk)
        logits_CV = hidden_NH[rows] @ head_VH.T
        logits_CV = logits_CV.to(torch.promote_types(logits_CV.dtype, torch.float32))
        chosen_C = logits_CV.gather(1, labels_N[rows, None])[:, 0]
        parts.append(chosen_C - logits_CV.logsumexp(1))
    return torch.cat(parts)


def _folded(objective: Objective, signal: SpanSignal, log_q_S: Tensor) -> tuple[Tensor, Tensor]:
    """[S] divergence of the two outcomes at the objective's temperature, and its slope in the log-probability."""
    log_q_S2 = _two_outcomes(log_q_S, objective.temperature)
    value_S, slope_S = torch.zeros_like(log_q_S), torch.zeros_like(log_q_S)
    # d log(1 - q) / d log q.
    other_S = -(log_q_S2[:, 0] - log_q_S2[:, 1]).exp()
    for log_p_S, share in zip(signal.log_probs_GS, signal.shares, strict=True):
        terms_S2, slopes_S2 = objective.terms(_two_outcomes(log_p_S.to(log_q_S), objective.temperature), log_q_S2)
        value_S += share * terms_S2.sum(1)
        slope_S += share * (slopes_S2[:, 0] + slopes_S2[:, 1] * other_S) / objective.temperature
    return value_S, slope_S


def _two_outcomes(log_probs_S: Tensor, temperature: float) -> Tensor:
    """[S, 2] log of the span's probability to the power 1/T, and of what that leaves."""
    log_this_S = (log_probs_S / temperature).clamp(max=-_LEAST_SURPRISAL)
    return torch.stack([log_this_S, torch.log(-torch.expm1(log_this_S))], 1)
