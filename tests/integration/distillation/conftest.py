"""A real teacher process with a tiny random A.X K1 checkpoint, shared by the tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests import tiny_checkpoints
from tests.integration.distillation.jobs import MODEL, write_data
from tests.serving import start_server

from seodang.distillation.spec import Teacher


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Students this small lose more by sharing work than they gain."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.build(tmp_path_factory.mktemp("checkpoint") / "axk1", "axk1")


@pytest.fixture(scope="session")
def tutor(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teacher]:
    with start_server(
        "teacher", tmp_path_factory.mktemp("teacher"), folder=checkpoint, model=MODEL, reproducible_scores=True
    ) as serving:
        yield Teacher(model=MODEL, address=serving.address)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_data(tmp_path_factory.mktemp("data") / "sums.jsonl")
