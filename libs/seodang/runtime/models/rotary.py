"""Rotary position embeddings, as tables over the positions of a context."""

from typing import Final

import torch
from transformers import PreTrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

# Types whose frequencies do not change with the length of the sequence at hand.
FIXED_TYPES: Final = frozenset({"default", "linear", "llama3", "yarn"})


class Rotary:
    """cos and sin of every position, [positions, D]; the sine of the first half is negated, as kernels rotate."""

    def __init__(self, config: PreTrainedConfig, size: int, positions: int, device: torch.device) -> None:
        kind = config.rope_parameters["rope_type"]
        if kind == "default":
            steps = torch.arange(0, size, 2, dtype=torch.float32) / size
            frequencies, factor = 1.0 / (config.rope_parameters["rope_theta"] ** steps), 1.0
        else:
            frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config)
        angles = torch.arange(positions, dtype=torch.float32)[:, None] * frequencies.float()
        cos, sin = angles.cos() * factor, angles.sin() * factor
        self._cos_PD = torch.cat([cos, cos], dim=-1).to(device)
        self._sin_PD = torch.cat([-sin, sin], dim=-1).to(device)

    def at(self, positions_T: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and signed sin of the given positions, [T, 1, D] to broadcast over heads."""
        cos, sin = self._cos_PD.index_select(0, positions_T), self._sin_PD.index_select(0, positions_T)
        return cos.to(dtype)[:, None], sin.to(dtype)[:, None]


def halves(rows: int, size: int) -> torch.Tensor:
    """Order of ``rows`` projection rows that turns heads of interleaved pairs (x0, y0, x1, y1 ...) into halves."""
    pair = torch.arange(size).view(-1, 2).T.reshape(-1)
    return (torch.arange(0, rows, size)[:, None] + pair).reshape(-1)
