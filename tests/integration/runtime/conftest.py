from pathlib import Path

import pytest
import torch
from tests.tiny_checkpoints import FAMILIES, build
from tests.tiny_engines import engine_of, reference
from transformers import PreTrainedModel

from seodang.runtime.engine import Engine


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny tensors: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each family in turn."""
    return build(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def axk1_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("axk1"), "axk1")


@pytest.fixture(scope="session")
def oracle(folder: Path) -> PreTrainedModel:
    """The same checkpoint in transformers."""
    return reference(folder)


@pytest.fixture
def engine(axk1_folder: Path) -> Engine:
    """A fresh engine over the tiny A.X K1."""
    return engine_of(axk1_folder)
