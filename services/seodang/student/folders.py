"""Checkpoint folders that the server may read: below its model roots, and nowhere else."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from seodang.base.errors import InvalidInput, NotFound, PermissionDenied
from seodang.worker.messages import DType

_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "int8": 8, "int4": 5}


class ModelRoots:
    """The folders that hold checkpoint folders."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = tuple(root.resolve() for root in roots)

    def resolve(self, folder: str) -> Path:
        """The real path of a folder that a caller names, absolute or relative to a root.

        Raises:
            PermissionDenied: it lies outside the roots, by its name or by a link.
            NotFound: there is no such folder below them.
        """
        if not folder or "\0" in folder:
            raise InvalidInput("folder is empty or holds a NUL: name a folder below a model root", field="folder")
        inside = [path for root in self._roots if (path := (root / folder).resolve()).is_relative_to(root)]
        if not inside:
            raise PermissionDenied(
                f"folder={folder[:200]!r} leads outside the model roots of this server: put the checkpoint below one",
                reason="OUTSIDE_MODEL_ROOTS",
            )
        found = next((path for path in inside if path.is_dir()), None)
        if found is None:
            raise NotFound(f"folder={folder[:200]!r}: no such folder below a model root of this server")
        self._check_links(found)
        return found

    def checkpoints(self) -> Iterator[Path]:
        """Every folder with a ``config.json`` directly below a root, in order of name."""
        for root in self._roots:
            if root.is_dir():
                yield from sorted(path for path in root.iterdir() if (path / "config.json").is_file())

    def _check_links(self, folder: Path) -> None:
        for path in folder.iterdir():
            target = path.resolve()
            if not any(target.is_relative_to(root) for root in self._roots):
                raise PermissionDenied(
                    f"{path.name} in {folder.name} links to outside the model roots: copy the file into the folder",
                    reason="OUTSIDE_MODEL_ROOTS",
                )


def weight_bytes(folder: Path, dtype: DType) -> int:
    """About what a checkpoint's weights take in memory once they are ``dtype``."""
    stored = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    config = _config(folder)
    stored_dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    stored_bits, bits = _BITS.get(stored_dtype, _BITS[dtype]), _BITS[dtype]
    numbers = stored * 8 // stored_bits
    ends = int(config.get("vocab_size", 0)) * int(config.get("hidden_size", 0))
    if not config.get("tie_word_embeddings"):
        ends *= 2
    wider = min(ends, numbers) * max(_BITS["bfloat16"] - bits, 0)  # embedding and head are never narrower than this
    return (numbers * bits + wider) // 8


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput(
            f"{path} cannot be read as JSON ({error}); copy it from the original checkpoint",
            field="folder",
            reason="BAD_CHECKPOINT",
        ) from error
    if not isinstance(config, dict):
        raise InvalidInput(f"{path} holds no JSON object", field="folder", reason="BAD_CHECKPOINT")
    return config
