"""Running results of walks over a vocabulary, part by part. P positions, V vocabulary, k head entries, n tail draws."""

from dataclasses import dataclass

import torch


@dataclass(slots=True)
class Survey:
    """Normaliser, entropy and head; sums are float64."""

    peak_P: torch.Tensor
    mass_P: torch.Tensor
    """Sum of exp(x - peak)."""
    moment_P: torch.Tensor
    """Sum of exp(x - peak) * (x - peak), for the entropy."""
    top_values_Pk: torch.Tensor
    """float32, falling."""
    top_ids_Pk: torch.Tensor

    @classmethod
    def start(cls, positions: int, top_k: int, device: torch.device) -> "Survey":
        """Before the first part."""
        zeros = torch.zeros(positions, dtype=torch.float64, device=device)
        return cls(
            peak_P=torch.full_like(zeros, -torch.inf),
            mass_P=zeros,
            moment_P=zeros.clone(),
            top_values_Pk=torch.full((positions, top_k), -torch.inf, device=device),
            top_ids_Pk=torch.full((positions, top_k), -1, dtype=torch.int64, device=device),
        )

    def logsumexp(self) -> torch.Tensor:
        """float64 [P], after the last part."""
        return self.peak_P + self.mass_P.log()

    def entropy(self) -> torch.Tensor:
        """float32 [P], in nats."""
        return (self.mass_P.log() - self.moment_P / self.mass_P).float()


@dataclass(slots=True)
class TailDraws:
    """Tokens at points of the cumulative mass of all tokens but the head's."""

    points_Pn: torch.Tensor
    """float64, rising; below ``tail_P``."""
    tail_P: torch.Tensor
    """float64 mass; nothing is drawn where it is 0."""
    normaliser_P: torch.Tensor
    """float64 log of the sum over all tokens."""
    head_ids_Pk: torch.Tensor
    before_P: torch.Tensor
    """float64 mass of the tail in the parts so far."""
    ids_Pn: torch.Tensor
    logprobs_Pn: torch.Tensor

    @classmethod
    def start(
        cls, offsets_P1: torch.Tensor, draws: int, tail_P: torch.Tensor, normaliser_P: torch.Tensor, heads: torch.Tensor
    ) -> "TailDraws":
        """``draws`` equally spaced points from an offset on, which is below 1 and counted in the space between."""
        steps = torch.arange(draws, dtype=torch.float64, device=tail_P.device)
        points_Pn = (offsets_P1 + steps) / draws * tail_P[:, None] * (1.0 - 1e-12)
        return cls(
            points_Pn=points_Pn,
            tail_P=tail_P,
            normaliser_P=normaliser_P,
            head_ids_Pk=heads,
            before_P=torch.zeros_like(tail_P),
            ids_Pn=torch.full(points_Pn.shape, -1, dtype=torch.int64, device=tail_P.device),
            logprobs_Pn=torch.full(points_Pn.shape, -torch.inf, device=tail_P.device),
        )
