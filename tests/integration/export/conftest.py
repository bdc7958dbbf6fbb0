"""Checkpoints to be exported, and the bundled student as a GGUF of float32."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.llamacpp import LlamaCpp

from seodang.runtime.export import Export, Weights

STUDENTS = Path(__file__).parents[3] / "models" / "students"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Tiny tensors: more threads only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def student() -> Path:
    """A bundled one."""
    return STUDENTS / "messaging"


@pytest.fixture(scope="session")
def student_export(student: Path) -> Export:
    return Export(student)


@pytest.fixture(scope="session")
def student_gguf(student_export: Export, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    """The bundled student in llama.cpp."""
    path = tmp_path_factory.mktemp("gguf") / "student.gguf"
    student_export.write(path, Weights.F32, "student")
    with LlamaCpp(path, len(student_export.vocabulary.tokens)) as model:
        yield model
