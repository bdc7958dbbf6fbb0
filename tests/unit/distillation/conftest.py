import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Operations this small lose more by sharing work than they gain."""
    torch.set_num_threads(1)
