"""The learning rate at each step, and which parameters decay."""

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch.nn import Parameter
from torch.optim import Optimizer

from seodang.distillation.spec import Budget
from seodang.distillation.training.student import Student

FINAL_SHARE: Final = 0.1
BETAS: Final = (0.9, 0.95)
MAX_GRADIENT_NORM: Final = 1.0


def learning_rate(budget: Budget, step: int) -> float:
    """Of the step with this number, from 0: a linear rise, then half a cosine down to ``FINAL_SHARE`` of the peak."""
    warmup = max(1, round(budget.steps * budget.warmup_fraction))
    if step < warmup:
        return budget.learning_rate * (step + 1) / warmup
    progress = (step - warmup) / max(1, budget.steps - warmup)
    share = FINAL_SHARE + (1 - FINAL_SHARE) * 0.5 * (1 + math.cos(math.pi * progress))
    return budget.learning_rate * share


def make_optimizers(student: Student, parameters: Sequence[Parameter], budget: Budget) -> list[Optimizer]:
    """Who moves which of the parameters, the student's and what is trained beside it, all at the budget's rate.

    Muon (Jordan et al., 2024), scaled to the size of AdamW's steps (Liu et al., "Muon is Scalable", 2025), moves the
    matrices between layers. AdamW moves embeddings and head, which are tables rather than maps, and vectors, which do
    not decay.
    """
    tables = {id(student.head_VH), id(student.model.get_input_embeddings().weight)}
    matrices = [each for each in parameters if each.ndim == 2 and id(each) not in tables]
    rest = [each for each in parameters if each.ndim != 2 or id(each) in tables]
    decaying = [each for each in rest if each.ndim > 1]
    groups: list[dict[str, Any]] = [
        {"params": decaying if budget.optimizer == "muon" else decaying + matrices},
        {"params": [each for each in rest if each.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(
        groups,
        lr=budget.learning_rate,
        betas=BETAS,
        weight_decay=budget.weight_decay,
        fused=True,
    )
    if budget.optimizer == "adamw" or not matrices:
        return [adamw]
    muon = torch.optim.Muon(
        matrices, lr=budget.learning_rate, weight_decay=budget.weight_decay, adjust_lr_fn="match_rms_adamw"
    )
    return [adamw, muon]
