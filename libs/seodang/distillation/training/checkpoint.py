"""Checkpoints from which training goes on exactly: weights, optimiser moments and counters, in one safetensors file.

What a step reads and draws is a function of seed and step, so no generator state needs keeping.

    training/SUBJECT/step-00000050.safetensors    "model.NAME" and "optimizer.KEY.NAME"; TrainingState as metadata
    training/SUBJECT/best.safetensors             "model.*" at the best development loss, if training may stop early
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from seodang.base.errors import Conflict
from seodang.distillation.folder import write_whole
from seodang.distillation.spec import Record

_NAME = re.compile(r"step-(\d{8})\.safetensors")
OPTIMIZER_KEY: Final = re.compile(r"optimizer\.(?P<key>[^.]+)\.(?P<name>.+)")
KEPT: Final = 2


class TrainingState(Record, frozen=True, kw_only=True):
    """Where a training stands."""

    fingerprint: str
    """Of all that determines the training; another one's checkpoint is refused."""
    step: int = 0
    """Optimiser steps done."""
    tokens: int = 0
    positions: int = 0
    """Trained positions, of all steps."""
    seconds: float = 0.0
    """Spent on these steps."""
    best_dev_loss: float | None = None
    worse_in_a_row: int = 0
    stopped: bool = False
    """The last step is done, or patience ran out."""


class Checkpoints:
    """The checkpoints of one training."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(
        self, state: TrainingState, named: list[tuple[str, Parameter]], optimizers: Sequence[Optimizer], *, best: bool
    ) -> None:
        """Makes a state durable; older ones but the one before go."""
        model = model_tensors(named)
        if best:
            write_whole(self._folder / "best.safetensors", save(model))
        kept = optimizer_tensors(named, optimizers)
        metadata = {"state": msgspec.json.encode(state).decode()}
        write_whole(self._path(state.step), save(model | kept, metadata))
        for step in self._steps()[:-KEPT]:
            self._path(step).unlink()

    def restore(
        self, fingerprint: str, named: list[tuple[str, Parameter]], optimizers: Sequence[Optimizer]
    ) -> TrainingState:
        """Loads the newest checkpoint into parameters and optimisers; a fresh state if there is none.

        Raises:
            Conflict: it belongs to another training.
        """
        steps = self._steps()
        if not steps:
            return TrainingState(fingerprint=fingerprint)
        path = self._path(steps[-1])
        state = _state(path)
        check_same(path, state, fingerprint)
        tensors = load_file(path)
        _load_model(tensors, named)
        parameters = dict(named)
        owners = {id(each): one for one in optimizers for group in one.param_groups for each in group["params"]}
        for key, value in tensors.items():
            if found := OPTIMIZER_KEY.fullmatch(key):
                parameter = parameters[found["name"]]
                owners[id(parameter)].state[parameter][found["key"]] = value.to(parameter.device)
        return state

    @property
    def last_step(self) -> int:
        """Steps that the newest checkpoint has done; 0 without one."""
        return max(self._steps(), default=0)

    def last_state(self) -> TrainingState:
        """The state of the newest checkpoint; there must be one."""
        return _state(self._path(self.last_step))

    def restore_best(self, named: list[tuple[str, Parameter]]) -> None:
        """Loads the weights of the best development loss."""
        _load_model(load_file(self._folder / "best.safetensors"), named)

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}.safetensors"

    def _steps(self) -> list[int]:
        if not self._folder.is_dir():
            return []
        return sorted(int(found[1]) for path in self._folder.iterdir() if (found := _NAME.fullmatch(path.name)))


def model_tensors(named: list[tuple[str, Parameter]]) -> dict[str, Tensor]:
    """What a checkpoint keeps of the model."""
    return {f"model.{name}": parameter.detach() for name, parameter in named}


def optimizer_tensors(named: list[tuple[str, Parameter]], optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """What a checkpoint keeps of the optimisers; ``OPTIMIZER_KEY`` finds its way back."""
    return {
        f"optimizer.{key}.{name}": value
        for name, parameter in named
        for optimizer in optimizers
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def check_same(path: Path, state: TrainingState, fingerprint: str) -> None:
    """Refuses the checkpoint of another training.

    Raises:
        Conflict: it is one.
    """
    if state.fingerprint != fingerprint:
        raise Conflict(
            f"{path} belongs to a training with other data, signal, shape, budget or seed: remove it to begin anew",
            reason="CHECKPOINT_MISMATCH",
        )


def _state(path: Path) -> TrainingState:
    with safe_open(path, "pt") as file:
        return msgspec.json.decode(file.metadata()["state"], type=TrainingState)


def _load_model(tensors: dict[str, Tensor], named: list[tuple[str, Parameter]]) -> None:
    with torch.no_grad():
        for name, parameter in named:
            parameter.copy_(tensors[f"model.{name}"])
