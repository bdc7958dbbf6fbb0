"""The files of a tokenizer and chat template: which they are, their digest, and how many tokens they tell of.

Read as they lie in a folder, without loading any model.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from seodang.base.errors import InvalidInput
from seodang.distillation.folder import whole_folder
from seodang.inference.tokenizer_files import FILES


def tokenizer_sha256(folder: Path) -> str:
    """One digest over tokenizer and chat template: equal means the same ids for the same text and conversation.

    It is ``Model.tokenizer_sha256`` of the inference contract, without loading the model.

    Raises:
        InvalidInput: there is no tokenizer.json, or a file cannot be read as what it is.
    """
    try:
        tokenizer = hashlib.sha256((folder / "tokenizer.json").read_bytes()).hexdigest()
        template = _chat_template(folder)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"the tokenizer in {folder} cannot be read: {error}") from error
    digest = hashlib.sha256(json.dumps(template).encode()).hexdigest() if template else ""
    return hashlib.sha256(f"{tokenizer}\n{digest}".encode()).hexdigest()


def vocabulary_of(folder: Path) -> int:
    """How many ids a model needs to read this tokenizer: the largest one, and one.

    Raises:
        InvalidInput: it has no vocabulary that can be read, or no chat template.
    """
    path = folder / "tokenizer.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        vocabulary = content["model"]["vocab"]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        largest = max([*ids, *(token["id"] for token in content.get("added_tokens", []))])
        template = _chat_template(folder)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InvalidInput(
            f"{path} cannot be read as a tokenizer: {type(error).__name__}: {error}", field="spec.shape.tokenizer"
        ) from error
    if not template:
        raise InvalidInput(
            f"the tokenizer in {folder} has no chat template: add chat_template.jinja", field="spec.shape.tokenizer"
        )
    return int(largest) + 1


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copies the files of a tokenizer, whole or not at all."""
    with whole_folder(folder) as partial:
        for name in FILES:
            if (source / name).is_file():
                shutil.copyfile(source / name, partial / name)


def _chat_template(folder: Path) -> Any:
    """As transformers finds it: a file of its own goes before the tokenizer's config."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    return json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
