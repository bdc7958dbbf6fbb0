"""How many parameters one token passes through, from a checkpoint's headers alone."""

import json
import math
import struct
from pathlib import Path
from typing import Any, Final

_ROUTED: Final = ("n_routed_experts", "num_local_experts", "num_experts")


def active_parameters(folder: Path, total: int) -> int:
    """``total`` less the routed experts that a token does not visit; a dense model's are all active. 0 if that is 0.

    The folder is one that the engine has loaded, so its files are known to be sound.
    """
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    experts: int = next((config[name] for name in _ROUTED if config.get(name)), 0)
    chosen: int = config.get("num_experts_per_tok") or 0
    if not total or not experts or not chosen:
        return total
    routed = sum(
        math.prod(entry["shape"])
        for path in folder.glob("*.safetensors")
        for name, entry in _header(path).items()
        if ".experts." in name
    )
    return int(total - routed * (experts - chosen) // experts)


def _header(path: Path) -> dict[str, Any]:
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        header: dict[str, Any] = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    return header
