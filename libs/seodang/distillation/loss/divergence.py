"""The divergences between a teacher's and a student's distribution, category by category.

With p the teacher's and q the student's probability of a category, a divergence is a sum of terms f(p, q). What its
gradient needs is the slope b = q * df/dq: for q = softmax(z) over the categories, d sum(f) / dz = b - q * sum(b).
Both are linear in sums over categories, so that weighted samples of categories estimate value and gradient unbiased.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from seodang.base.errors import InvalidInput

Divergence: TypeAlias = Literal["forward_kl", "reverse_kl", "generalized_jsd"]


@dataclass(frozen=True)
class Objective:
    """What is minimised: (1 - cross_entropy_weight) * T^2 * divergence + cross_entropy_weight * cross-entropy.

    The divergence is taken at temperature T; T^2 keeps its gradient's size independent of T (Hinton et al., 2015).

    ``generalized_jsd`` with m = beta p + (1 - beta) q is beta KL(p|m) + (1 - beta) KL(q|m) (Agarwal et al., GKD,
    ICLR 2024). Its size vanishes towards beta 0 and 1, so there the KL it tends to, up to scale, is meant, as in GKD:
    forward at 0, reverse at 1.
    """

    divergence: Divergence = "forward_kl"
    beta: float | None = None
    cross_entropy_weight: float = 0.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.divergence == "generalized_jsd" and (self.beta is None or not 0 <= self.beta <= 1):
            raise InvalidInput(f"beta={self.beta}: generalized_jsd needs one between 0 and 1", field="beta")
        if not 0 <= self.cross_entropy_weight <= 1:
            raise InvalidInput(f"cross_entropy_weight={self.cross_entropy_weight}: must be between 0 and 1")
        if not self.temperature > 0:
            raise InvalidInput(f"temperature={self.temperature}: must be positive", field="temperature")

    @property
    def is_forward(self) -> bool:
        """Whether it is forward KL, the one divergence that is linear in the teacher's probabilities."""
        return self.divergence == "forward_kl" or (self.divergence == "generalized_jsd" and self.beta == 0)

    @property
    def is_reverse(self) -> bool:
        """Whether it is reverse KL."""
        return self.divergence == "reverse_kl" or (self.divergence == "generalized_jsd" and self.beta == 1)

    def terms(self, log_p: Tensor, log_q: Tensor) -> tuple[Tensor, Tensor]:
        """The term f(p, q) and the slope b of each category; -inf stands for probability zero."""
        if self.is_forward:
            p = log_p.exp()
            return _times_log_ratio(p, log_p, log_q), -p
        if self.is_reverse:
            term = _times_log_ratio(log_q.exp(), log_q, log_p)
            return term, term
        assert self.beta is not None
        log_m = torch.logaddexp(log_p + math.log(self.beta), log_q + math.log1p(-self.beta))
        slope = _times_log_ratio(log_q.exp(), log_q, log_m).mul_(1 - self.beta)
        return _times_log_ratio(log_p.exp(), log_p, log_m).mul_(self.beta).add_(slope), slope


def _times_log_ratio(weight: Tensor, log_above: Tensor, log_below: Tensor) -> Tensor:
    """weight * (log_above - log_below), and 0 where the weight is 0 (0 log 0 = 0)."""
    return (log_above - log_below).mul_(weight).masked_fill_(weight == 0, 0.0)
