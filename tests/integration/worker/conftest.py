from pathlib import Path

import pytest
from tests.tiny_checkpoints import build


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny checkpoint of each family."""
    return {family: build(tmp_path_factory.mktemp(family), family) for family in ("axk1", "lfm2", "llama", "qwen3")}
