"""Which checkpoint tensors make up each parameter of the model.

Most parameters are one tensor of the same name. transformers stacks experts: ``experts.gate_up_proj`` [E, 2I, H] is
made of 2E tensors [I, H]. We read the same conversion rules as transformers and turn them into boxes: a *piece* is a
checkpoint tensor and the box of the parameter that it fills.
"""

import re
from collections import defaultdict
from dataclasses import dataclass

from transformers import PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import (
    Concatenate,
    MergeModulelist,
    WeightConverter,
    WeightRenaming,
    dot_natural_key,
    rename_source_key,
)

from seodang.base.errors import Unsupported
from seodang.runtime.checkpoint import BadCheckpoint, Checkpoint, TensorEntry
from seodang.runtime.reading import Box


@dataclass(frozen=True, slots=True)
class Piece:
    """A checkpoint tensor and the box that it fills; leading dimensions of size 1 may be absent from the tensor."""

    source: TensorEntry
    box: Box


@dataclass(frozen=True, slots=True)
class WeightMap:
    """Pieces of every parameter and persistent buffer, by the name that the model gives it."""

    pieces: dict[str, tuple[Piece, ...]]

    @property
    def parameters(self) -> int:
        """Elements of the whole model."""
        total = 0
        for pieces in self.pieces.values():
            for piece in pieces:
                size = 1
                for begin, end in piece.box:
                    size *= end - begin
                total += size
        return total


def map_weights(checkpoint: Checkpoint, model: PreTrainedModel) -> WeightMap:
    """Match every checkpoint tensor with a parameter of the unsharded meta ``model``, or say which does not fit."""
    targets = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = dict(getattr(model, "all_tied_weights_keys", None) or {})
    found: dict[str, dict[str, list[TensorEntry]]] = defaultdict(lambda: defaultdict(list))
    conversions = get_model_conversion_mapping(model)
    renamings = [rule for rule in conversions if isinstance(rule, WeightRenaming)]
    converters = [rule for rule in conversions if isinstance(rule, WeightConverter)]
    by_pattern = {pattern: rule for rule in converters for pattern in rule.source_patterns}
    ignored = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_unexpected or ()]
    for key in sorted(checkpoint.tensors, key=dot_natural_key):
        entry = checkpoint.tensors[key]
        name, pattern = rename_source_key(key, renamings, converters, model.base_model_prefix, targets)
        if name in targets:
            found[name][pattern or ""].append(entry)
        elif not any(rule.search(name) for rule in ignored):
            raise BadCheckpoint(
                f"{entry.file}: {key} belongs to no part of {type(model).__name__}; "
                "config.json and weights are of different models",
                file=entry.file,
                tensor=key,
            )
    for target, origin in tied.items():
        if target in found and origin not in found:
            found[origin] = found.pop(target)
    pieces = {
        name: _place(name, targets[name], by_source, by_pattern)
        for name, by_source in found.items()
        if name not in tied
    }
    optional = [re.compile(pattern) for pattern in model._keys_to_ignore_on_load_missing or ()]
    for name in targets.keys() - pieces.keys() - tied.keys():
        if not any(rule.search(name) for rule in optional):
            raise BadCheckpoint(
                f"{checkpoint.folder} lacks {name} {list(targets[name])}; a shard is missing from the index, "
                "or config.json describes another model",
                file=checkpoint.folder,
                tensor=name,
            )
    return WeightMap(pieces)


def _place(
    name: str,
    shape: tuple[int, ...],
    by_source: dict[str, list[TensorEntry]],
    converters: dict[str, WeightConverter],
) -> tuple[Piece, ...]:
    """Lay the sources of one parameter out over its shape, and check that they fill it."""
    if "" in by_source:
        entries = by_source[""]
        pieces = tuple(Piece(entry, tuple((0, size) for size in entry.shape)) for entry in entries)
        _check(name, shape, pieces, one_each=True)
        return pieces
    converter = converters[next(iter(by_source))]
    kinds = [type(operation) for operation in converter.operations]
    if kinds not in ([MergeModulelist], [MergeModulelist, Concatenate]):
        steps = ", ".join(kind.__name__ for kind in kinds)
        raise Unsupported(f"{name} is converted by {steps}, which this loader does not do; convert it beforehand")
    joined = converter.operations[1].dim if len(kinds) == 2 else None
    placed: list[Piece] = []
    offset = 0
    for pattern in converter.source_patterns:
        entries = by_source.get(pattern, [])
        for position, entry in enumerate(entries):
            box = [(position, position + 1), *((0, size) for size in entry.shape)]
            if joined is not None and joined < len(box):
                box[joined] = (offset, offset + entry.shape[joined - 1])
            placed.append(Piece(entry, tuple(box)))
        if joined is not None and entries and joined - 1 < len(entries[0].shape):
            offset += entries[0].shape[joined - 1]
    _check(name, shape, tuple(placed), one_each=False)
    return tuple(placed)


def _check(name: str, shape: tuple[int, ...], pieces: tuple[Piece, ...], *, one_each: bool) -> None:
    """Refuse a piece that sticks out of the parameter, and pieces that do not fill it."""
    filled = 0
    for piece in pieces:
        box = piece.box
        inside = len(box) == len(shape) and all(end <= size for (_, end), size in zip(box, shape, strict=True))
        if not inside or (one_each and tuple(piece.source.shape) != shape):
            raise BadCheckpoint(
                f"{piece.source.file}: {piece.source.name} has shape {list(piece.source.shape)}, but "
                f"{name} {list(shape)} needs another; config.json describes another model",
                file=piece.source.file,
                tensor=piece.source.name,
            )
        size = 1
        for begin, end in box:
            size *= end - begin
        filled += size
    expected = 1
    for size in shape:
        expected *= size
    if filled != expected:
        source = pieces[-1].source
        raise BadCheckpoint(
            f"{source.file}: the tensors of {name} {list(shape)} fill {filled} of {expected} elements; "
            f"some experts are missing or {source.name} {list(source.shape)} has a wrong shape",
            file=source.file,
            tensor=source.name,
        )
