"""Our kernels and torch share one OpenMP runtime, so that a process has as many threads as it was told."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
import torch
from seodang.runtime.kernels.build import load_library
from seodang.runtime.kernels.native_kernels import NativeKernels

torch.set_num_threads(int(sys.argv[1]))
kernels = NativeKernels(load_library())
x, weight = torch.randn(8, 512), torch.randn(512, 512)
before = len(list(Path("/proc/self/task").iterdir()))
for _ in range(3):
    torch.randn(2**16).exp()  # torch's own loops, then ours
    kernels.linear(x, weight)
print(len(list(Path("/proc/self/task").iterdir())) - before)
mapped = {Path(line.split()[-1]).name for line in Path("/proc/self/maps").read_text().splitlines()}
print(sum(name.startswith(("libgomp", "libomp", "libiomp")) for name in mapped))
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads in /proc")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc here")
@pytest.mark.parametrize("threads", [1, 3])
def test_kernels_and_torch_work_with_the_same_threads(threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(threads)], capture_output=True, text=True, check=True, timeout=100
    )
    helpers, runtimes = done.stdout.split()
    assert int(helpers) == threads - 1
    assert runtimes == "1"
