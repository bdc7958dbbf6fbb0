from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.mesh.up import Up, running_up


@pytest.fixture(scope="package")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of examples that jobs may learn from."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="package")
def up(checkpoints: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`seodang up` with tiny random models, which is all that these tests need of a model."""
    with running_up(
        tmp_path_factory.mktemp("up"),
        teacher_folder=checkpoints / "tiny", teacher_model="models/tiny", teacher_cache_bytes=8 * 2**20,
        student_model_roots=checkpoints, student_cache_bytes=8 * 2**20, distill_data_roots=f'["{data}"]',
    ) as running:  # fmt: skip
        yield running
