"""A digest that tells two checkpoints apart without reading them whole."""

import hashlib
import os
from typing import Final

from seodang.runtime.checkpoint import Checkpoint

SAMPLES: Final = 64
SAMPLE_BYTES: Final = 4096


def fingerprint(checkpoint: Checkpoint) -> str:
    """Hex digest over config.json, and over size, header and evenly spaced samples of every shard.

    Retraining moves every weight, so samples show it. An edit of a few bytes between samples they do not show: a
    signature over the whole files is another matter.
    """
    digest = hashlib.sha256((checkpoint.folder / "config.json").read_bytes())
    for path in checkpoint.files:
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        descriptor = os.open(path, os.O_RDONLY)
        try:
            header = int.from_bytes(os.pread(descriptor, 8, 0), "little")
            digest.update(os.pread(descriptor, header, 8))
            for sample in range(SAMPLES):
                digest.update(os.pread(descriptor, SAMPLE_BYTES, 8 + header + (size - 8 - header) * sample // SAMPLES))
            digest.update(os.pread(descriptor, SAMPLE_BYTES, max(0, size - SAMPLE_BYTES)))
        finally:
            os.close(descriptor)
    return digest.hexdigest()
