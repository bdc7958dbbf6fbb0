"""Rows of the data files under ``SEODANG_DATA_DIR``: gzip JSON lines, one file a data set."""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seodang.base.errors import NotFound

DATA_DIR_SETTING = "SEODANG_DATA_DIR"
DEFAULT_DATA_DIR = Path("../shared/data")


class MissingData(NotFound):
    """A data file is not where the setting says."""

    default_reason = "MISSING_DATA"


def data_dir() -> Path:
    """The directory of data files: ``SEODANG_DATA_DIR``, or ``../shared/data`` beside the working directory."""
    return Path(os.environ.get(DATA_DIR_SETTING, DEFAULT_DATA_DIR))


def rows(file_name: str) -> Iterator[dict[str, Any]]:
    """The rows of one file, in order.

    Raises:
        MissingData: the file does not exist; the text names the file and the setting.
    """
    path = data_dir() / file_name
    if not path.is_file():
        raise MissingData(f"no data file {path.absolute()}: put {file_name} there or set {DATA_DIR_SETTING}")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def held_out(key: str, one_in: int) -> bool:
    """Does ``key`` belong to the part kept out of training? Depends on the text alone, so that copies go together."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % one_in == 0
