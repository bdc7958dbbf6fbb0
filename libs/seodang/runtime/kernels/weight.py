"""The forms of a weight matrix: a tensor as it is, or rows of int8 with a scale each. [..., N outputs, K inputs]"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

MOST: Final = 127
SMALLEST_SCALE: Final = 1e-30
"""Rows of zeros have it, and stay zeros."""


@dataclass(frozen=True, slots=True)
class Int8:
    """Row n is ``values[n] * scales[n]``: a quarter of float32, within half of a 127th of the row's largest number."""

    values: torch.Tensor
    """int8 [..., N, K]"""
    scales: torch.Tensor
    """float32 [..., N]"""

    @classmethod
    def of(cls, weight: torch.Tensor) -> "Int8":
        """The nearest int8 rows."""
        scales = (weight.abs().amax(-1).float() / MOST).clamp_min(SMALLEST_SCALE)
        return cls((weight / scales[..., None]).round_().to(torch.int8), scales)

    @classmethod
    def empty(cls, shape: list[int], device: torch.device | str) -> "Int8":
        """Room for rows."""
        values = torch.empty(shape, dtype=torch.int8, device=device)
        return cls(values, torch.empty(shape[:-1], dtype=torch.float32, device=device))

    @property
    def shape(self) -> torch.Size:
        """[..., N, K]"""
        return self.values.shape

    def __getitem__(self, index: int | torch.Tensor) -> "Int8":
        """Some of the rows, or one matrix of a stack."""
        return Int8(self.values[index], self.scales[index])

    def wide(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix as a tensor."""
        return (self.values * self.scales[..., None]).to(dtype)


Weight: TypeAlias = torch.Tensor | Int8
