import shutil

import pytest
import torch

from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.kernels.native_kernels import NativeKernels
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.sharding import Ranks


class AnotherRankHasNone(Ranks):
    def all_agree(self, yes: bool) -> bool:
        return False


def test_without_a_compiler_plain_torch_is_chosen_loudly(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    kernels = choose_kernels(Ranks.alone(), torch.bfloat16)
    assert isinstance(kernels, TorchKernels)
    assert kernels.activations is torch.bfloat16
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert "run on plain torch" in record.message
    assert "no-such-compiler" in record.message


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
def test_a_cpu_with_a_compiler_gets_ours_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    kernels = choose_kernels(Ranks.alone(), torch.bfloat16)
    assert isinstance(kernels, NativeKernels)
    assert kernels.activations is torch.float32
    assert not caplog.records


def test_a_rank_without_kernels_keeps_all_ranks_on_plain_torch() -> None:
    assert isinstance(choose_kernels(AnotherRankHasNone(0, 2, torch.device("cpu")), torch.float32), TorchKernels)


def test_other_devices_get_plain_torch() -> None:
    kernels = choose_kernels(Ranks.alone("meta"), torch.bfloat16)
    assert isinstance(kernels, TorchKernels)
