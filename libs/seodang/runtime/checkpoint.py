"""A checkpoint folder, checked from its headers alone: no weight is read, nothing is ever unpickled.

A safetensors file is eight bytes of header length, a JSON header (name -> dtype, shape, byte range), then the bytes.
"""

import json
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from seodang.base.errors import InvalidInput, NotFound

DTYPE_BYTES: Final = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
    "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1,
}  # fmt: skip
PICKLE_SUFFIXES: Final = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
MAX_HEADER_BYTES: Final = 256 * 2**20


class BadCheckpoint(InvalidInput):
    """A checkpoint that cannot be loaded; metadata holds ``file`` and ``tensor`` where they are known."""

    default_reason = "BAD_CHECKPOINT"

    def __init__(self, message: str, *, file: Path | None = None, tensor: str = "") -> None:
        metadata = {"file": str(file)} if file else {}
        if tensor:
            metadata["tensor"] = tensor
        super().__init__(message, field="folder", metadata=metadata)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor as its file's header announces it; ``begin`` and ``end`` are byte offsets in the file."""

    name: str
    file: Path
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder with ``config.json`` and safetensors shards whose headers, sizes and index agree."""

    folder: Path
    config: dict[str, Any]
    tensors: dict[str, TensorEntry]

    @property
    def files(self) -> tuple[Path, ...]:
        """The shards, in order of name."""
        return tuple(sorted({entry.file for entry in self.tensors.values()}))

    @classmethod
    def open(cls, folder: str | Path) -> "Checkpoint":
        """Check and describe a folder. ``NotFound`` without one; ``BadCheckpoint`` says what is wrong with it."""
        folder = Path(folder)
        if not folder.is_dir():
            raise NotFound(f"no checkpoint folder at {folder}; give the path of a folder that holds config.json")
        config = read_json(folder / "config.json")
        index = folder / "model.safetensors.index.json"
        tensors = _open_indexed(folder, index) if index.exists() else _open_single(folder)
        return cls(folder, config, tensors)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of the checkpoint."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadCheckpoint(f"{path} is missing; copy it from the original checkpoint", file=path) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise BadCheckpoint(f"{path} is not JSON: {error}; copy it again from the original", file=path) from error
    if not isinstance(content, dict):
        raise BadCheckpoint(f"{path} holds a {type(content).__name__}, expected an object", file=path)
    return content


def read_header(path: Path) -> dict[str, TensorEntry]:
    """The tensors of one safetensors file, after checking that the file holds every byte that it announces."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        prefix = stream.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
        if not 2 <= length <= min(size - 8, MAX_HEADER_BYTES):
            raise BadCheckpoint(
                f"{path} ({size} bytes) is no safetensors file: it announces a header of {length} bytes; "
                "the file is truncated or of another format, download or convert it again",
                file=path,
            )
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise BadCheckpoint(f"{path}: the header is not JSON ({error}); download it again", file=path) from error
    header.pop("__metadata__", None)
    entries = {name: _entry(path, name, item, 8 + length) for name, item in header.items()}
    needed = max((entry.end for entry in entries.values()), default=8 + length)
    if needed != size:
        verb = "is truncated" if size < needed else "has bytes that belong to no tensor"
        last = max(entries.values(), key=lambda entry: entry.end).name if entries else ""
        raise BadCheckpoint(
            f"{path} {verb}: its header needs {needed} bytes, the file has {size}; download it again",
            file=path,
            tensor=last,
        )
    return entries


def _entry(path: Path, name: str, item: Any, data_begin: int) -> TensorEntry:
    try:
        dtype, shape = item["dtype"], tuple(item["shape"])
        begin, end = item["data_offsets"]
        if prod(shape) * DTYPE_BYTES[dtype] != end - begin or begin < 0:
            raise ValueError(f"{dtype} {list(shape)} does not fill bytes {begin}..{end}")
    except (KeyError, TypeError, ValueError) as error:
        message = f"{path}: the header's entry for {name} is wrong ({error!r}); download the file again"
        raise BadCheckpoint(message, file=path, tensor=name) from error
    return TensorEntry(name, path, dtype, shape, data_begin + begin, data_begin + end)


def _open_indexed(folder: Path, index: Path) -> dict[str, TensorEntry]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise BadCheckpoint(f"{index} has no weight_map; copy it from the original checkpoint", file=index)
    names = sorted(set(weight_map.values()))
    if pickled := [name for name in names if name.endswith(PICKLE_SUFFIXES)]:
        raise _pickle_refused(folder / pickled[0])
    if outside := [name for name in names if Path(name).name != name]:
        raise BadCheckpoint(f"{index} points outside the folder: {outside[0]!r}; name files of the folder", file=index)
    for name in names:
        if not (folder / name).is_file():
            first = next(tensor for tensor, file in weight_map.items() if file == name)
            raise BadCheckpoint(
                f"shard {folder / name} is missing; {index.name} places {first} and others in it; download it again",
                file=folder / name,
                tensor=first,
            )
    headers = {name: read_header(folder / name) for name in names}
    for tensor, name in weight_map.items():
        if tensor not in headers[name]:
            raise BadCheckpoint(
                f"{folder / name} lacks {tensor}, which {index.name} places there; "
                "shard and index are of different checkpoints, download both again",
                file=folder / name,
                tensor=tensor,
            )
    return {tensor: headers[name][tensor] for tensor, name in weight_map.items()}


def _open_single(folder: Path) -> dict[str, TensorEntry]:
    single = folder / "model.safetensors"
    if single.is_file():
        return read_header(single)
    for path in sorted(folder.iterdir()):
        if path.suffix in PICKLE_SUFFIXES:
            raise _pickle_refused(path)
    raise BadCheckpoint(
        f"{folder} holds neither model.safetensors nor model.safetensors.index.json; "
        "if there are several shards, the index is missing: copy it from the original",
        file=single,
    )


def _pickle_refused(path: Path) -> BadCheckpoint:
    return BadCheckpoint(
        f"{path} is a pickle file, and loading one can run any code; "
        "convert it: load it where you trust it and save it with save_pretrained(safe_serialization=True)",
        file=path,
    )
