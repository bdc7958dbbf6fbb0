"""Weights from disk into a sharded transformers model: every rank reads the bytes of its own part, and no others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch.distributed.tensor import DTensor, Replicate
from torch.distributed.tensor.placement_types import Shard as ShardPlacement
from transformers import PreTrainedModel

from seodang.runtime.checkpoint import TensorEntry
from seodang.runtime.reading import Box, LoadMeter, Report, ShardFiles, box_bytes
from seodang.runtime.weight_map import Piece, WeightMap


@dataclass(frozen=True, slots=True)
class Region:
    """Where a piece of a source tensor goes: a box of the source, and one of this rank's local tensor."""

    source: TensorEntry
    source_box: Box
    local_box: Box


def load_weights(model: PreTrainedModel, weights: WeightMap, device: torch.device, report: Report) -> LoadMeter:
    """Replace the meta tensors of ``model`` by this rank's part of the checkpoint. Peak: the part and one region."""
    parameters = {name: parameter for name, parameter in model.named_parameters() if name in weights.pieces}
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in weights.pieces}
    plan = {name: list(_regions(tensor, weights.pieces[name])) for name, tensor in (parameters | buffers).items()}
    sizes = [box_bytes(region.source, region.source_box) for part in plan.values() for region in part]
    meter = LoadMeter(report, sum(sizes))
    with ShardFiles() as files:
        for name, tensor in (parameters | buffers).items():
            local = _fill(tensor, plan[name], files, meter)
            _install(model, name, tensor, local.to(device))
    _finish(model, device)
    return meter


def _regions(tensor: torch.Tensor, pieces: Sequence[Piece]) -> Iterator[Region]:
    """Cut every piece along the intervals that this rank holds of ``tensor``."""
    held = _held_intervals(tensor)
    for piece in pieces:
        extra = len(piece.box) - len(piece.source.shape)
        per_dim = [_overlaps(interval, held_here) for interval, held_here in zip(piece.box, held, strict=True)]
        for cells in product(*per_dim):
            origins = (origin for origin, _ in piece.box)
            source_box = tuple((begin - o, end - o) for (begin, end, _), o in zip(cells, origins, strict=True))
            local_box = tuple((local, local + end - begin) for begin, end, local in cells)
            yield Region(piece.source, source_box[extra:], local_box)


def _held_intervals(tensor: torch.Tensor) -> list[list[tuple[int, int]]]:
    """The global intervals of each dimension that this rank holds, in local order."""
    held = [[(0, size)] for size in tensor.shape]
    if not isinstance(tensor, DTensor):
        return held
    for mesh_dim, placement in enumerate(tensor.placements):
        if isinstance(placement, Replicate):
            continue
        dim = placement.dim % tensor.ndim  # type: ignore[attr-defined]
        rank, count = tensor.device_mesh.get_local_rank(mesh_dim), tensor.device_mesh.size(mesh_dim)
        groups = getattr(placement, "split_factor", 1)
        width = tensor.shape[dim] // groups
        held[dim] = []
        for group in range(groups):
            length, offset = ShardPlacement.local_shard_size_and_offset(width, count, rank)
            held[dim].append((group * width + offset, group * width + offset + length))
    return held


def _overlaps(interval: tuple[int, int], held: list[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """(begin, end, local begin) of each part of ``interval`` that is held."""
    parts, local = [], 0
    for begin, end in held:
        low, high = max(begin, interval[0]), min(end, interval[1])
        if low < high:
            parts.append((low, high, local + low - begin))
        local += end - begin
    return parts


def _fill(tensor: torch.Tensor, regions: list[Region], files: ShardFiles, meter: LoadMeter) -> torch.Tensor:
    shape = [sum(end - begin for begin, end in dim) for dim in _held_intervals(tensor)]
    local = torch.empty(shape, dtype=tensor.dtype)
    for region in regions:
        target = local[tuple(slice(begin, end) for begin, end in region.local_box)]
        read = files.read(region.source, region.source_box)
        target.copy_(read.view(target.shape))
        meter.add(box_bytes(region.source, region.source_box))
    return local


def _install(model: PreTrainedModel, name: str, meta: torch.Tensor, local: torch.Tensor) -> None:
    owner_name, _, attribute = name.rpartition(".")
    owner = model.get_submodule(owner_name)
    if isinstance(meta, DTensor):
        local = DTensor.from_local(
            local, meta.device_mesh, meta.placements, run_check=False, shape=meta.shape, stride=meta.stride()
        )
    if attribute in owner._parameters:
        owner._parameters[attribute] = torch.nn.Parameter(local, requires_grad=False)
    else:
        owner._buffers[attribute] = local
    getattr(owner, attribute)._is_hf_initialized = True


def _finish(model: PreTrainedModel, device: torch.device) -> None:
    """Tie what is tied, and let the model compute the buffers that no checkpoint holds, such as rotary frequencies."""
    model.tie_weights(recompute_mapping=False)
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_meta:
                module._buffers[name] = torch.zeros_like(buffer, device=device)
    model.initialize_weights()
    left = [name for name, tensor in model.state_dict().items() if tensor.is_meta]
    assert not left, f"no weights for {left}"
