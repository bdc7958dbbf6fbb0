"""Checkpoints of a training on several ranks: each writes its own part, by torch.distributed.checkpoint.

A folder appears when every part of it is there:

    training/SUBJECT/step-00000050/    the parts, with the names that one process's checkpoints give; state.json
    training/SUBJECT/best-00000050/    "model.*" at the best development loss, if training may stop early
"""

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import msgspec
import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.nn import Parameter
from torch.optim import Optimizer

from seodang.base.errors import InternalFault
from seodang.distillation.folder import sync_folder, write_whole
from seodang.distillation.group import ALONE, Group
from seodang.distillation.training.checkpoint import (
    KEPT,
    OPTIMIZER_KEY,
    Checkpoints,
    TrainingState,
    check_same,
    model_tensors,
    optimizer_tensors,
)


class ShardedCheckpoints:
    """The checkpoints of one training. Saving and restoring is done by all ranks together."""

    def __init__(self, folder: Path, group: Group = ALONE) -> None:
        self._folder = folder
        self._group = group

    def save(
        self, state: TrainingState, named: list[tuple[str, Parameter]], optimizers: Sequence[Optimizer], *, best: bool
    ) -> None:
        """Makes a state durable; older ones but the one before go."""
        model = model_tensors(named)
        if best:
            self._write(self._path("best", state.step), model, state)
        self._write(self._path("step", state.step), model | optimizer_tensors(named, optimizers), state)
        if self._group.first:
            for step in self._steps("step")[:-KEPT]:
                shutil.rmtree(self._path("step", step))
            for step in self._steps("best")[:-1]:
                shutil.rmtree(self._path("best", step))

    def restore(
        self, fingerprint: str, named: list[tuple[str, Parameter]], optimizers: Sequence[Optimizer]
    ) -> TrainingState:
        """Loads the newest checkpoint into parameters and optimisers; a fresh state if there is none.

        Raises:
            Conflict: it belongs to another training.
        """
        last_step = self.last_step
        # A best one that no checkpoint followed is of steps that are done again.
        for step in self._steps("best") if self._group.first else []:
            if step > last_step:
                shutil.rmtree(self._path("best", step))
        if not last_step:
            return TrainingState(fingerprint=fingerprint)
        path = self._path("step", last_step)
        state = _state(path)
        check_same(path, state, fingerprint)
        parameters = dict(named)
        owners = {id(each): one for one in optimizers for group in one.param_groups for each in group["params"]}
        tensors = model_tensors(named) | _room_for_moments(path, parameters)
        with _together(path):
            load(tensors, checkpoint_id=path)
        for key, value in tensors.items():
            if found := OPTIMIZER_KEY.fullmatch(key):
                parameter = parameters[found["name"]]
                owners[id(parameter)].state[parameter][found["key"]] = value
        return state

    @property
    def last_step(self) -> int:
        """Steps that the newest checkpoint has done; 0 without one."""
        return max(self._steps("step"), default=0)

    def last_state(self) -> TrainingState:
        """The state of the newest checkpoint; there must be one."""
        return _state(self._path("step", self.last_step))

    def restore_best(self, named: list[tuple[str, Parameter]]) -> None:
        """Loads the weights of the best development loss."""
        path = self._path("best", max(self._steps("best")))
        with _together(path):
            load(model_tensors(named), checkpoint_id=path)

    def _write(self, path: Path, tensors: dict[str, Tensor], state: TrainingState) -> None:
        partial = path.with_name(f".{path.name}.partial")
        if self._group.first:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        self._group.wait()
        with _together(path):
            save(tensors, checkpoint_id=partial)
        if self._group.first:
            write_whole(partial / "state.json", msgspec.json.encode(state))
            partial.replace(path)
            sync_folder(path.parent)
        self._group.wait()

    def _path(self, kind: str, step: int) -> Path:
        return self._folder / f"{kind}-{step:08d}"

    def _steps(self, kind: str) -> list[int]:
        if not self._folder.is_dir():
            return []
        name = re.compile(rf"{kind}-(\d{{8}})")
        return sorted(int(found[1]) for path in self._folder.iterdir() if (found := name.fullmatch(path.name)))


AnyCheckpoints: TypeAlias = Checkpoints | ShardedCheckpoints


def checkpoints_of(folder: Path, ranks: int, group: Group = ALONE) -> AnyCheckpoints:
    """The checkpoints of a training on so many ranks."""
    return Checkpoints(folder) if ranks == 1 else ShardedCheckpoints(folder, group)


@contextmanager
def _together(path: Path) -> Iterator[None]:
    """Makes what any rank met an error of ours; torch's own is none that an ``except Exception`` would catch."""
    try:
        yield
    except CheckpointException as error:
        raise InternalFault(f"{path}: not every rank could read or write its part: {error}") from error


def _state(path: Path) -> TrainingState:
    return msgspec.json.decode((path / "state.json").read_bytes(), type=TrainingState)


def _room_for_moments(path: Path, parameters: dict[str, Parameter]) -> dict[str, Tensor]:
    """Tensors for what the optimisers had, spread as the parameters that they belong to."""
    room: dict[str, Tensor] = {}
    for key, kept in FileSystemReader(path).read_metadata().state_dict_metadata.items():
        if found := OPTIMIZER_KEY.fullmatch(key):
            assert isinstance(kept, TensorStorageMetadata)
            parameter = parameters[found["name"]].detach()
            alike = kept.size == parameter.shape
            room[key] = (
                torch.zeros_like(parameter, dtype=kept.properties.dtype)
                if alike
                else torch.zeros(kept.size, dtype=kept.properties.dtype, device=parameter.device)
            )
    return room
