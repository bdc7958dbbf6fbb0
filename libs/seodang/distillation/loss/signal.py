"""The teacher's signal in each form it comes in, and the divergence from it with its gradient.

N positions, C positions of a chunk, V vocabulary, K entries a position, H width of the teacher. All log-probabilities
are natural, at the objective's temperature.
"""

from dataclasses import dataclass, fields
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor

from seodang.base.errors import Unsupported
from seodang.distillation.loss.divergence import Objective
from seodang.distillation.runtime_kernels import runtime_kernels


class Signal(Protocol):
    """What the teacher said at N positions."""

    def rows(self, start: int, stop: int) -> Self:
        """The signal at positions start..stop."""
        ...

    def to(self, device: torch.device) -> Self:
        """The same signal on a device."""
        ...

    def divergence(self, objective: Objective, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
        """Value [C] and gradient [C, V] with respect to the logits, both at the objective's temperature.

        ``log_q_CV``, the student's log-softmax, is consumed: its memory may come back as the gradient.
        """
        ...


SignalT = TypeVar("SignalT", bound="_PerPosition")


@dataclass(frozen=True)
class _PerPosition:
    """Fields whose first axis is the position, unless ``_shared`` names them."""

    def rows(self: SignalT, start: int, stop: int) -> SignalT:
        """The signal at positions start..stop."""
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        return type(self)(
            **{name: part if name in self._shared() else part[start:stop] for name, part in parts.items()}
        )

    def to(self: SignalT, device: torch.device) -> SignalT:
        """The same signal on a device."""
        return type(self)(**{each.name: getattr(self, each.name).to(device) for each in fields(self)})

    @staticmethod
    def _shared() -> frozenset[str]:
        return frozenset()


@dataclass(frozen=True)
class DenseSignal(_PerPosition):
    """The whole distribution."""

    log_probs_NV: Tensor

    def divergence(self, objective: Objective, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Signal``."""
        return _dense(objective, self.log_probs_NV, log_q_CV)


@dataclass(frozen=True)
class HiddenSignal(_PerPosition):
    """What the teacher's head reads, and the head: the whole distribution, made chunk by chunk."""

    hidden_NH: Tensor
    head_VH: Tensor
    """Of bfloat16 only where the states are bfloat16 in float32, too: their products are then summed up in float32."""

    def divergence(self, objective: Objective, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Signal``."""
        head_VH = self.head_VH
        if head_VH.dtype == torch.bfloat16 and head_VH.device.type == "cpu":
            logits_CV = runtime_kernels("cpu").logits(self.hidden_NH, head_VH)
        else:
            wide = torch.promote_types(head_VH.dtype, torch.float32)
            logits_CV = self.hidden_NH.to(wide) @ head_VH.to(wide).T
        logits_CV = logits_CV.to(log_q_CV.dtype)
        return _dense(objective, logits_CV.div_(objective.temperature).log_softmax(-1), log_q_CV)

    @staticmethod
    def _shared() -> frozenset[str]:
        return frozenset({"head_VH"})


@dataclass(frozen=True)
class TruncatedSignal(_PerPosition):
    """The K likeliest tokens and one bucket for all others: K + 1 categories, a lower bound of the divergence."""

    ids_NK: Tensor
    log_probs_NK: Tensor
    log_tail_N: Tensor
    """Log of the probability outside the K."""

    def divergence(self, objective: Objective, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Signal``. The bucket's gradient is spread over its tokens by the student's own proportions."""
        log_q_head_CK = log_q_CV.gather(1, self.ids_NK)
        # Not 1 - sum(head): with a sharp student that difference is rounding noise.
        log_q_tail_C1 = log_q_CV.scatter(1, self.ids_NK, -torch.inf).logsumexp(1, keepdim=True)
        log_p = torch.cat([self.log_probs_NK, self.log_tail_N[:, None]], 1).to(log_q_CV.dtype)
        terms, slopes = objective.terms(log_p, torch.cat([log_q_head_CK, log_q_tail_C1], 1))
        total_C1 = slopes.sum(1, keepdim=True)
        in_tail_CV = (log_q_CV - log_q_tail_C1).exp_().mul_(slopes[:, -1:])
        gradient_CV = in_tail_CV.sub_(log_q_CV.exp_().mul_(total_C1))
        gradient_CV.scatter_(1, self.ids_NK, slopes[:, :-1] - log_q_head_CK.exp() * total_C1)
        return terms.sum(1), gradient_CV


@dataclass(frozen=True)
class SampledSignal(_PerPosition):
    """An unbiased sketch: entries whose weights have the whole distribution as their expectation.

    Only forward KL is linear in the teacher's probabilities and keeps its expectation; the others are refused.
    """

    ids_NK: Tensor
    probs_NK: Tensor
    """Weight of each entry; 0 fills up rows with fewer entries."""
    entropy_N: Tensor
    """Of the teacher, in nats; it makes the value a KL and has no gradient."""

    def divergence(self, objective: Objective, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Signal``.

        Raises:
            Unsupported: the objective is not forward KL.
        """
        if not objective.is_forward:
            raise Unsupported(
                f"{objective.divergence} of a sampled target is biased: use hidden states, which are the whole "
                "distribution, or live candidates, which the teacher scores at the student's own tokens"
            )
        probs_CK = self.probs_NK.to(log_q_CV.dtype)
        value_C = (probs_CK * log_q_CV.gather(1, self.ids_NK)).sum(1).add_(self.entropy_N).neg_()
        gradient_CV = log_q_CV.exp_().mul_(probs_CK.sum(1, keepdim=True))
        return value_C, gradient_CV.scatter_add_(1, self.ids_NK, -probs_CK)


@dataclass(frozen=True)
class CandidateSignal(_PerPosition):
    """The teacher's log-probabilities at tokens that the student chose: any divergence, unbiased.

    ``weights_NK`` is one over the probability that the choice contains the token (times how often it was drawn): 1 for
    the student's own head, and for a draw from its tail, tail mass / (draws * q).
    """

    ids_NK: Tensor
    log_probs_NK: Tensor
    weights_NK: Tensor

    def divergence(self, objective: Objective, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Signal``. The weights count as constants."""
        terms, slopes = objective.terms(self.log_probs_NK.to(log_q_CV.dtype), log_q_CV.gather(1, self.ids_NK))
        terms, slopes = terms * self.weights_NK, slopes * self.weights_NK
        gradient_CV = log_q_CV.exp_().mul_(-slopes.sum(1, keepdim=True))
        return terms.sum(1), gradient_CV.scatter_add_(1, self.ids_NK, slopes)


@dataclass(frozen=True)
class MixedSignal:
    """Several teachers: the weighted sum of their divergences. Of forward KLs it is, up to a constant, the KL from
    the mixture of the teachers.
    """

    parts: tuple[Signal, ...]
    shares: tuple[float, ...]

    def rows(self, start: int, stop: int) -> Self:
        """The signal at positions start..stop."""
        return type(self)(tuple(part.rows(start, stop) for part in self.parts), self.shares)

    def to(self, device: torch.device) -> Self:
        """The same signal on a device."""
        return type(self)(tuple(part.to(device) for part in self.parts), self.shares)

    def divergence(self, objective: Objective, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
        """See ``Signal``."""
        value_C, gradient_CV = torch.zeros_like(log_q_CV[:, 0]), torch.zeros_like(log_q_CV)
        for part, share in zip(self.parts, self.shares, strict=True):
            part_value_C, part_gradient_CV = part.divergence(objective, log_q_CV.clone())
            value_C.add_(part_value_C, alpha=share)
            gradient_CV.add_(part_gradient_CV, alpha=share)
        return value_C, gradient_CV


def _dense(objective: Objective, log_p_CV: Tensor, log_q_CV: Tensor) -> tuple[Tensor, Tensor]:
    terms, slopes = objective.terms(log_p_CV.to(log_q_CV.dtype), log_q_CV)
    value_C, total_C1 = terms.sum(1), slopes.sum(1, keepdim=True)
    return value_C, torch.sub(slopes, log_q_CV.exp_().mul_(total_C1), out=log_q_CV)
