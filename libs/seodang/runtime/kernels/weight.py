"""The forms of a weight matrix: a tensor as it is, or int8 or int4 with scales. [..., N outputs, K inputs]"""

from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

import torch
import torch.nn.functional as F

MOST: Final = 127
SMALLEST_SCALE: Final = 1e-30
"""Rows of zeros have it, and stay zeros."""
LEVELS: Final = 16
TILE: Final = 16
"""Outputs whose int4 weights lie together."""
RANGES: Final = (1.0, 0.95, 0.9, 0.85)
"""Shares of a group's range that int4 tries to cover: cutting off the ends may bring all the others nearer."""
SLAB: Final = 2**18
"""Numbers converted at a time: their many intermediate results stay near the processor, and small."""


@dataclass(frozen=True, slots=True)
class Int8:
    """Row n is ``values[n] * scales[n]``: a quarter of float32, within half of a 127th of the row's largest number."""

    group: ClassVar = 1
    """Inputs that tensor-parallel ranks must not part."""
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

    @property
    def nbytes(self) -> int:
        """Memory of it all."""
        return self.values.nbytes + self.scales.nbytes


@dataclass(frozen=True, slots=True)
class Int4:
    """Inputs in groups of 32, each number one of sixteen evenly spaced levels of its group: five bits a number.

    Tiles of 16 outputs and one group lie together as ``weights.h`` says; the last ones are filled up.
    """

    group: ClassVar = 32
    """Inputs that share their levels; tensor-parallel ranks must not part them."""
    values: torch.Tensor
    """uint8 [..., tiles of outputs, groups, 4, 16 outputs, 4]: two codes a byte, the earlier input in its lower half"""
    scales: torch.Tensor
    """bfloat16 [..., tiles of outputs, groups, 2, 16 outputs]: the step from code to code, and what code 0 is"""
    outputs: int
    inputs: int

    @classmethod
    def of(cls, weight: torch.Tensor) -> "Int4":
        """Codes near to a matrix, by the range of each group that leaves the smallest squares of errors."""
        narrow = cls.empty(list(weight.shape), weight.device)
        if weight.ndim > 2:
            for place, matrix in enumerate(weight):
                one = cls.of(matrix)
                narrow.values[place], narrow.scales[place] = one.values, one.scales
            return narrow
        tiles = max(1, SLAB // (TILE * narrow.inputs))
        rows, into = torch.split(weight, tiles * TILE), (narrow.values, narrow.scales)
        for wide, values, scales in zip(rows, *(torch.split(part, tiles) for part in into), strict=True):
            filling = (0, -narrow.inputs % cls.group, 0, -wide.shape[0] % TILE)
            groups = F.pad(wide.float(), filling).view(values.shape[0], TILE, values.shape[1], cls.group)
            codes, bounds = _nearest(groups)
            pairs = codes.to(torch.uint8).view(*codes.shape[:-1], 4, 4, 2)
            values.copy_((pairs[..., 0] | pairs[..., 1] << 4).permute(0, 2, 3, 1, 4))
            scales.copy_(bounds.permute(0, 2, 3, 1))
        return narrow

    @classmethod
    def empty(cls, shape: list[int], device: torch.device | str) -> "Int4":
        """Room for matrices."""
        *stack, outputs, inputs = shape
        tiles = [*stack, -(-outputs // TILE), -(-inputs // cls.group)]
        values = torch.empty([*tiles, 4, TILE, 4], dtype=torch.uint8, device=device)
        return cls(values, torch.empty([*tiles, 2, TILE], dtype=torch.bfloat16, device=device), outputs, inputs)

    @property
    def shape(self) -> torch.Size:
        """[..., N, K]"""
        return torch.Size([*self.values.shape[:-5], self.outputs, self.inputs])

    def __getitem__(self, index: int | torch.Tensor) -> "Int4":
        """One matrix of a stack, or all rows of a matrix in another order."""
        if isinstance(index, int):
            return Int4(self.values[index], self.scales[index], self.outputs, self.inputs)
        assert len(index) == self.outputs, "rows lie in tiles, whole ones"
        order = torch.cat((index, torch.arange(self.outputs, self.values.shape[0] * TILE)))
        values, scales = (
            torch.unflatten(part.movedim(3, 1).flatten(0, 1)[order], 0, (-1, TILE)).movedim(1, 3).contiguous()
            for part in (self.values, self.scales)
        )
        return Int4(values, scales, self.outputs, self.inputs)

    def wide(self, dtype: torch.dtype) -> torch.Tensor:
        """The matrix as a tensor."""
        codes = torch.stack((self.values & LEVELS - 1, self.values >> 4), dim=-1).movedim(-3, -5).flatten(-3)
        step, lowest = torch.split(self.scales.float().movedim(-1, -3), 1, dim=-1)
        rows: torch.Tensor = (codes * step + lowest).flatten(-2).flatten(-3, -2)
        return rows[..., : self.outputs, : self.inputs].to(dtype)

    @property
    def nbytes(self) -> int:
        """Memory of it all."""
        return self.values.nbytes + self.scales.nbytes


def _nearest(groups: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes [..., 32] as float32, and bounds [..., 2]."""
    low, high = groups.aminmax(dim=-1)
    middle, reach = (high + low) / 2, (high - low) / 2
    best = torch.full_like(low, torch.inf)
    codes, bounds = torch.empty_like(groups), low.new_empty((*low.shape, 2), dtype=torch.bfloat16)
    for share in RANGES:
        step = (2 * share * reach / (LEVELS - 1)).clamp_min(SMALLEST_SCALE)
        tried = torch.stack((step, middle - share * reach), dim=-1).to(torch.bfloat16)
        step, lowest = torch.split(tried.float(), 1, dim=-1)  # as they will be read
        code = ((groups - lowest) / step).round_().clamp_(0, LEVELS - 1)
        error = (code * step + lowest - groups).square_().sum(-1)
        better = ~(error >= best)[..., None]  # what is no number stays none
        best = torch.minimum(error, best)
        codes, bounds = torch.where(better, code, codes), torch.where(better, tried, bounds)
    return codes, bounds


Narrow: TypeAlias = Int8 | Int4
Weight: TypeAlias = torch.Tensor | Narrow
NARROW: Final[dict[str, type[Int8] | type[Int4]]] = {"int8": Int8, "int4": Int4}
"""By name of dtype, the form that a model's matrices take while all else is bfloat16."""
