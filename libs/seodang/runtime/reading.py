"""Exact reads of parts of tensors: runs of adjacent bytes, straight into place, counted."""

import os
import time
from collections.abc import Callable, Iterator
from itertools import product
from math import prod
from pathlib import Path
from typing import Final, TypeAlias

import torch

from seodang.runtime.checkpoint import BadCheckpoint, TensorEntry

TORCH_DTYPES: Final = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip
PROGRESS_INTERVAL_S: Final = 0.2

Box: TypeAlias = tuple[tuple[int, int], ...]
"""Half-open interval of each dimension."""
Report: TypeAlias = Callable[[int, int, float], None]
"""Called with bytes read, bytes to read, and seconds since the start."""


def volume(box: Box) -> int:
    """Elements in a box."""
    return prod(end - begin for begin, end in box)


def box_bytes(entry: TensorEntry, box: Box) -> int:
    """Bytes of a box of a stored tensor."""
    return (entry.end - entry.begin) * volume(box) // max(1, prod(entry.shape))


class LoadMeter:
    """Bytes read so far, of those that this rank will read; ``report`` is called a few times a second."""

    def __init__(self, report: Report, bytes_total: int) -> None:
        self.bytes_total = bytes_total
        self.bytes_read = 0
        self._report = report
        self._started = time.monotonic()
        self._reported = 0.0

    def add(self, count: int) -> None:
        """Count bytes just read."""
        self.bytes_read += count
        now = time.monotonic()
        if now - self._reported >= PROGRESS_INTERVAL_S or self.bytes_read == self.bytes_total:
            self._reported = now
            self._report(self.bytes_read, self.bytes_total, now - self._started)


class ShardFiles:
    """Open descriptors of a checkpoint's shards; use as ``with``."""

    def __init__(self) -> None:
        self._descriptors: dict[Path, int] = {}

    def __enter__(self) -> "ShardFiles":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)

    def read(self, entry: TensorEntry, box: Box) -> torch.Tensor:
        """A box of a stored tensor, in the dtype of the file."""
        dtype = TORCH_DTYPES.get(entry.dtype)
        if dtype is None:
            raise BadCheckpoint(
                f"{entry.file}: {entry.name} is {entry.dtype}, which is not loaded; use the bf16 original",
                file=entry.file,
                tensor=entry.name,
            )
        out = torch.empty([end - begin for begin, end in box], dtype=dtype)
        if out.numel() == 0:
            return out
        if entry.file not in self._descriptors:
            self._descriptors[entry.file] = os.open(entry.file, os.O_RDONLY)
        view = memoryview(out.view(-1).view(torch.uint8).numpy().data)
        done = 0
        for begin, length in runs(entry.shape, box, dtype.itemsize):
            self._read_exactly(entry, entry.begin + begin, view[done : done + length])
            done += length
        return out

    def _read_exactly(self, entry: TensorEntry, offset: int, into: memoryview) -> None:
        while into:
            count = os.preadv(self._descriptors[entry.file], [into], offset)
            if count == 0:
                raise BadCheckpoint(
                    f"{entry.file} ended while {entry.name} was read; the file changed during loading",
                    file=entry.file,
                    tensor=entry.name,
                )
            into, offset = into[count:], offset + count


def runs(shape: tuple[int, ...], box: Box, item: int) -> Iterator[tuple[int, int]]:
    """(byte offset, bytes) of each run of adjacent bytes of a box in a row-major tensor of ``item``-byte elements."""
    inner = len(shape)
    while inner > 0 and box[inner - 1] == (0, shape[inner - 1]):
        inner -= 1  # whole dimensions join the run
    strides = [1] * len(shape)
    for dim in range(len(shape) - 2, -1, -1):
        strides[dim] = strides[dim + 1] * shape[dim + 1]
    run = max(0, inner - 1)
    length = (box[run][1] - box[run][0]) * strides[run] if shape else 1
    start = box[run][0] * strides[run] if shape else 0
    for cell in product(*(range(begin, end) for begin, end in box[:run])):
        outer = sum(index * stride for index, stride in zip(cell, strides, strict=False))
        yield (outer + start) * item, length * item
