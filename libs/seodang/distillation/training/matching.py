"""Matching of hidden states: the student's last states, through a learned linear map, point where the teacher's do.

The map lives beside the student while it trains, and is dropped when it is done (FitNets, Romero et al., ICLR 2015; the
cosine as in DistilBERT, Sanh et al., 2019). N trained positions, H width of the student, G width of the teacher.
"""

import torch
from torch import Tensor, nn


class StateMatching(nn.Module):
    """The map, always the same for the same widths and seed."""

    def __init__(self, student_width: int, teacher_width: int, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.map = nn.Linear(student_width, teacher_width, bias=False)

    def forward(self, student_NH: Tensor, teacher_NG: Tensor) -> Tensor:
        """[N] cosine distance of each position, 0 to 2; the norms are for the divergence to match."""
        mapped_NG = self.map(student_NH).to(teacher_NG.dtype)
        distance: Tensor = 1 - nn.functional.cosine_similarity(mapped_NG, teacher_NG, dim=-1)
        return distance
