"""A repaired copy of a checkpoint; the original is never touched."""

import json
import os
import shutil
import struct
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from seodang.base.errors import AlreadyExists
from seodang.runtime.checkpoint import Checkpoint
from seodang.runtime.linter import Finding

ADDED_SHARD: Final = "model-added.safetensors"
INDEX: Final = "model.safetensors.index.json"


def repair(folder: Path, copy: Path, findings: Sequence[Finding]) -> None:
    """Write a copy with every repair that the findings offer. ``AlreadyExists`` if there is something at ``copy``."""
    if copy.exists():
        raise AlreadyExists(f"{copy} exists; name a place that is free")
    checkpoint = Checkpoint.open(folder)
    repairs = [finding.repair for finding in findings if finding.repair is not None]
    config = dict(checkpoint.config)
    tensors: dict[str, tuple[tuple[int, ...], float]] = {}
    for item in repairs:
        config |= item.config
        tensors |= item.tensors
    copy.mkdir(parents=True)
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in ("config.json", INDEX):
            _link_or_copy(path, copy / path.name)
    _write_json(copy / "config.json", config)
    weight_map = {name: entry.file.name for name, entry in checkpoint.tensors.items()}
    total = sum(entry.end - entry.begin for entry in checkpoint.tensors.values())
    if tensors:
        total += _write_constants(copy / ADDED_SHARD, tensors)
        weight_map |= dict.fromkeys(tensors, ADDED_SHARD)
    _write_json(copy / INDEX, {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))})


def _link_or_copy(source: Path, target: Path) -> None:
    """Shards are large and stay as they are: a hard link costs nothing, where the file system has them."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copy2(source, target)


def _write_constants(path: Path, tensors: dict[str, tuple[tuple[int, ...], float]]) -> int:
    """A safetensors file of float32 tensors with one value each; its bytes of data."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (shape, _) in tensors.items():
        size = prod(shape) * 4
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    body = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(body)) + body)
        for shape, value in tensors.values():
            stream.write(np.full(shape, value, "<f4").tobytes())
    return offset


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
