"""The model that a job's adapters are put on: what it is, and whether the job's students can be it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from seodang.base.errors import InvalidInput
from seodang.distillation.folder import folder_sha256
from seodang.distillation.result import BaseRecord
from seodang.distillation.spec import AdapterShape

_FIELD: Final = "spec.shape.adapter.base"
# How a batch is cut and filled up, and by which version the file was written, says nothing of ids.
_NOT_IDS: Final = ("version", "truncation", "padding")


@dataclass(frozen=True)
class Base:
    """A model at hand, as it was when the job's process looked."""

    folder: Path
    vocabulary_size: int
    sha256: str
    """Over the sorted list of (path, sha256) of its files; that of a registry version is the same."""

    @property
    def record(self) -> BaseRecord:
        """What the lineage says of it."""
        return BaseRecord(name=_name_of(self.folder), sha256=self.sha256)


def open_base(shape: AdapterShape, tokenizer: Path, needed: int, *, exactly: bool) -> Base:
    """Looks at the base of a job.

    Args:
        tokenizer: folder of the tokenizer that the job's students have.
        needed: width of vocabulary that they need.
        exactly: whether a wider one does not serve, because a teacher's distributions are compared token by token.

    Raises:
        InvalidInput: it is no folder of a model, or has another tokenizer or vocabulary.
    """
    folder = Path(shape.base)
    config = read_base_config(folder)
    vocabulary_size = config.get("vocab_size")
    if _ids_of(folder) != _ids_of(tokenizer):
        raise InvalidInput(
            f"the base {folder.name} has another tokenizer than its students would have: name the base's folder as "
            "shape.tokenizer too, and choose recipes that cross tokenizers",
            field=_FIELD,
        )
    if not isinstance(vocabulary_size, int) or vocabulary_size < needed or (exactly and vocabulary_size != needed):
        raise InvalidInput(
            f"the base {folder.name} has a vocabulary of {vocabulary_size}, but the recipes need {needed}: choose "
            "another base, or recipes that cross tokenizers",
            field=_FIELD,
        )
    return Base(folder, vocabulary_size, folder_sha256(folder))


def read_base_config(folder: Path) -> dict[str, Any]:
    """The config.json of a base.

    Raises:
        InvalidInput: it is not the folder of a model.
    """
    missing = [name for name in ("config.json", "tokenizer.json") if not (folder / name).is_file()]
    if missing or not any(folder.glob("*.safetensors")):
        what = missing[0] if missing else "*.safetensors"
        raise InvalidInput(f"{folder} is no model to put adapters on: it has no {what}", field=_FIELD)
    return _read(folder / "config.json")


def _name_of(folder: Path) -> str:
    """A student of this platform says its own; a version lies in a folder that is named by its digest."""
    lineage = folder / "lineage.json"
    said = _read(lineage).get("student") if lineage.is_file() else None
    return said if isinstance(said, str) else folder.name


def _ids_of(folder: Path) -> dict[str, Any]:
    content = _read(folder / "tokenizer.json")
    return {name: value for name, value in content.items() if name not in _NOT_IDS}


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as JSON: {error}", field=_FIELD) from error
    return content
