"""The key that turns people into pseudonyms: made once, for the owner's eyes only, and never shown."""

import secrets
from pathlib import Path

from seodang.base.errors import InvalidInput
from seodang.distill.capture.domain import Pseudonyms
from seodang.distillation.folder import sync_folder

_BYTES = 32


def open_or_make_pseudonyms(path: Path) -> Pseudonyms:
    """The pseudonyms by the key in ``path``, which is made if it is not there.

    Whoever loses the key can no longer find a person's exchanges; whoever has it can test whether a person is in them.

    Raises:
        InvalidInput: the file is no such key.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)
        partial.write_bytes(secrets.token_bytes(_BYTES))
        partial.rename(path)
        sync_folder(path.parent)
    key = path.read_bytes()
    if len(key) != _BYTES:
        raise InvalidInput(f"{path} holds {len(key)} bytes, not the {_BYTES} of a key: restore it from a backup")
    return Pseudonyms(key)
