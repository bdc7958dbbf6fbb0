"""Where a model's weights come from. A model asks for its tensors by name, shape and split, in one place, and the same
code then outlines it (shapes and bytes, for checks and plans) or loads it (this rank's part of every tensor).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from seodang.runtime.checkpoint import BadCheckpoint, Checkpoint, TensorEntry
from seodang.runtime.kernels.weight import Int4, Int8, Narrow, Weight
from seodang.runtime.layout import refuse_parted_groups
from seodang.runtime.reading import Box, LoadMeter, Report, ShardFiles, box_bytes, volume
from seodang.worker.messages import Layout

Form: TypeAlias = type[Int8] | type[Int4]


@dataclass(frozen=True, slots=True)
class Part:
    """A tensor of the checkpoint; ``split`` is the dimension that tensor-parallel ranks share out, None for a copy."""

    name: str
    shape: tuple[int, ...]
    split: int | None = None


@dataclass(frozen=True, slots=True)
class Seat:
    """A rank's place in a layout."""

    layout: Layout
    tp_rank: int = 0
    stage: int = 0

    @property
    def is_first(self) -> bool:
        """Whether the embedding is here."""
        return self.stage == 0

    @property
    def is_last(self) -> bool:
        """Whether the final norm and the head are here."""
        return self.stage == self.layout.pp - 1

    def share(self, size: int) -> tuple[int, int]:
        """This tensor-parallel rank's interval of ``size`` rows; the last ones may get fewer."""
        width = -(-size // self.layout.tp)
        return min(width * self.tp_rank, size), min(width * (self.tp_rank + 1), size)

    def experts(self, count: int) -> range:
        """The experts of this rank: its own if they are spread, else all."""
        if self.layout.ep == 1:
            return range(count)
        return range(*self.share(count))

    def layers(self, count: int) -> range:
        """The layers of this stage, the remainder going to the first stages."""
        width, rest = divmod(count, self.layout.pp)
        begin = self.stage * width + min(self.stage, rest)
        return range(begin, begin + width + (self.stage < rest))


class Source(ABC):
    """Gives a model its weights, cut for one seat."""

    def __init__(self, seat: Seat, dtype: torch.dtype, form: Form | None) -> None:
        self.seat = seat
        self.dtype = dtype
        self.form = form
        """What the layers' matrices become; None: ``dtype``, as all the rest."""

    def has(self, name: str) -> bool:
        """Whether the checkpoint holds a tensor."""
        return self.entries is None or name in self.entries

    @property
    @abstractmethod
    def entries(self) -> Mapping[str, TensorEntry] | None:
        """The checkpoint's tensors, if there is a checkpoint."""

    def rows(self, *parts: Part, dtype: torch.dtype | None = None) -> torch.Tensor:
        """This rank's rows of all parts, one below the other, in one tensor."""
        boxes = [self._box(part) for part in parts]
        shape = [sum(box[0][1] - box[0][0] for box in boxes), *(end - begin for begin, end in boxes[0][1:])]
        out = self._allocate(shape, dtype or self.dtype)
        self._fill_rows(out, parts, boxes)
        return out

    def matrix(self, *parts: Part) -> Weight:
        """This rank's rows of all parts, in the form that this load gives its matrices."""
        if self.form is None:
            return self.rows(*parts)
        self._check_groups(parts, self.form)
        return self._narrow(self.rows(*parts, dtype=torch.float32), self.form)

    def experts(self, count: int, parts_of: Callable[[int], tuple[Part, ...]]) -> Weight:
        """The rows of each of this rank's experts, stacked: [experts, rows, columns]. Spread experts are whole."""
        mine = self.seat.experts(count)
        assert mine, "a layout gives every rank an expert"
        whole = self.seat.layout.ep > 1
        boxes = [self._box(part, whole=whole) for part in parts_of(mine[0])]
        shape = [sum(box[0][1] - box[0][0] for box in boxes), boxes[0][1][1] - boxes[0][1][0]]
        if self.form is None:
            out = self._allocate([len(mine), *shape], self.dtype)
            for place, expert in enumerate(mine):
                self._fill_rows(out[place], parts_of(expert), boxes)
            return out
        wide = self._allocate(shape, torch.float32)
        if not whole:
            self._check_groups(parts_of(mine[0]), self.form)
        stack = self.form.empty([len(mine), *shape], wide.device)
        for place, expert in enumerate(mine):
            self._fill_rows(wide, parts_of(expert), boxes)
            one = self._narrow(wide, self.form)
            stack.values[place], stack.scales[place] = one.values, one.scales
        return stack

    def _narrow(self, wide: torch.Tensor, form: Form) -> Narrow:
        return form.of(wide)

    def _check_groups(self, parts: tuple[Part, ...], form: Form) -> None:
        for part in parts:
            if part.split == len(part.shape) - 1:
                refuse_parted_groups(part.name, part.shape[-1], self.seat.layout.tp, form.group)

    def _box(self, part: Part, *, whole: bool = False) -> Box:
        box = [(0, size) for size in part.shape]
        if part.split is not None and not whole:
            box[part.split] = self.seat.share(part.shape[part.split])
        return tuple(box)

    def _fill_rows(self, out: torch.Tensor, parts: tuple[Part, ...], boxes: list[Box]) -> None:
        begin = 0
        for part, box in zip(parts, boxes, strict=True):
            end = begin + box[0][1] - box[0][0]
            self._fill(part, box, out[begin:end])
            begin = end

    @abstractmethod
    def _allocate(self, shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        """An empty tensor for weights."""

    @abstractmethod
    def _fill(self, part: Part, box: Box, into: torch.Tensor) -> None:
        """Put a box of a part into its place."""


class Outline(Source):
    """Counts instead of reading: checks names and shapes against a checkpoint, if there is one."""

    def __init__(
        self, seat: Seat, dtype: torch.dtype, checkpoint: Checkpoint | None = None, *, form: Form | None = None
    ) -> None:
        super().__init__(seat, dtype, form)
        self.taken: set[str] = set()
        self.parameters = 0
        """Elements on this rank."""
        self.bytes_held = 0
        self.bytes_to_read = 0
        self._checkpoint = checkpoint

    @property
    def entries(self) -> Mapping[str, TensorEntry] | None:
        """The checkpoint's tensors, if there is a checkpoint."""
        return self._checkpoint.tensors if self._checkpoint else None

    def _allocate(self, shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device="meta")

    def _fill(self, part: Part, box: Box, into: torch.Tensor) -> None:
        self.parameters += volume(box)
        self.bytes_held += volume(box) * into.dtype.itemsize
        self.taken.add(part.name)
        if self._checkpoint is None:
            return
        entry = self._checkpoint.tensors.get(part.name)
        if entry is None:
            raise BadCheckpoint(
                f"{self._checkpoint.folder} lacks {part.name} {list(part.shape)}; a shard is missing from the index, "
                "or config.json describes another model",
                file=self._checkpoint.folder,
                tensor=part.name,
            )
        if entry.shape != part.shape:
            raise BadCheckpoint(
                f"{entry.file}: {part.name} has shape {list(entry.shape)}, but config.json makes it "
                f"{list(part.shape)}; config.json and weights are of different models",
                file=entry.file,
                tensor=part.name,
            )
        self.bytes_to_read += box_bytes(entry, box)

    def _narrow(self, wide: torch.Tensor, form: Form) -> Narrow:
        narrow = form.empty(list(wide.shape), wide.device)
        self.bytes_held += narrow.nbytes - wide.nbytes
        return narrow

    def check_leftover(self, ignored: Callable[[str], bool]) -> None:
        """Refuse tensors that no part of the whole model has asked for."""
        for name, entry in (self.entries or {}).items():
            if name not in self.taken and not ignored(name):
                raise BadCheckpoint(
                    f"{entry.file}: {name} belongs to no part of the model; "
                    "config.json and weights are of different models",
                    file=entry.file,
                    tensor=name,
                )


class Disk(Source):
    """Reads this rank's part of each tensor. Peak memory: what is held, and one box more."""

    def __init__(
        self, outline: Outline, checkpoint: Checkpoint, files: ShardFiles, device: torch.device, report: Report
    ) -> None:
        super().__init__(outline.seat, outline.dtype, outline.form)
        self.meter = LoadMeter(report, outline.bytes_to_read)
        self._entries = checkpoint.tensors
        self._files = files
        self._device = device

    @property
    def entries(self) -> Mapping[str, TensorEntry] | None:
        """The checkpoint's tensors."""
        return self._entries

    def _allocate(self, shape: list[int], dtype: torch.dtype) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype, device=self._device)

    def _fill(self, part: Part, box: Box, into: torch.Tensor) -> None:
        entry = self._entries[part.name]
        into.copy_(self._files.read(entry, box))
        self.meter.add(box_bytes(entry, box))
