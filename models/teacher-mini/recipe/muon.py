"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal before each step. For hidden matrices."""

from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from ranks import shared_work
from torch import Tensor
from torch.optim import Optimizer

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_MOMENTUM = 0.95


class Muon(Optimizer):
    """Takes (..., rows, columns) parameters; leading dimensions are separate matrices, such as experts.

    ``packed`` parameters hold two matrices on top of each other (gate and up) and are treated as two.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float, packed: frozenset[int]) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": _MOMENTUM})
        self._packed = packed

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update; matrices of one shape are made orthogonal together."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for parameter in group["params"]:
                momentum = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(momentum, group["momentum"])
                matrices = self._matrices(parameter, update)
                by_shape[matrices.shape[-2:]].append((parameter, matrices))
            for (rows, columns), members in by_shape.items():
                orthogonal = shared_work(torch.cat([matrices for _, matrices in members]), _orthogonal)
                scale = max(1.0, rows / columns) ** 0.5
                for (parameter, _), update in zip(
                    members, orthogonal.split([len(matrices) for _, matrices in members]), strict=True
                ):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update.reshape(parameter.shape), alpha=-group["lr"] * scale)

    def _matrices(self, parameter: Tensor, update: Tensor) -> Tensor:
        rows = parameter.shape[-2] // (2 if id(parameter) in self._packed else 1)
        return update.reshape(-1, rows, parameter.shape[-1])


def _orthogonal(matrices: Tensor) -> Tensor:
    """Newton-Schulz iteration towards the nearest orthogonal matrix of each."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
