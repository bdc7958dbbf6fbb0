"""The digest of a folder's tokenizer and chat template, computed as a server of the platform reports it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from seodang.base.errors import InvalidInput


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


def _chat_template(folder: Path) -> Any:
    """As transformers finds it: a file of its own goes before the tokenizer's config."""
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    return json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
