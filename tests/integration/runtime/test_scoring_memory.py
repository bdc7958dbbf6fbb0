"""Scoring a vocabulary of 163,840 tokens: chunks of positions, measured in a process of its own."""

import shutil
import subprocess
import sys

import pytest

LIMIT_BYTES = 256 * 2**20
PROGRAM = """
import resource, numpy as np, torch
from seodang.runtime.kernels.build import load_library
from seodang.runtime.kernels.native_kernels import NativeKernels
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.scorer import ScoreSpec, score
kernels = {kernels}
torch.set_num_threads(1)
vocabulary, hidden_size, chunk, positions = 163_840, 16, 256, 768
head = torch.randn(vocabulary, hidden_size)
hidden = torch.randn(positions, hidden_size)
spec = ScoreSpec(temperature=1.0, top_k=12, tail_samples=24, seed=0, entropy=True)

def run(begin, end):
    part, count = hidden[begin:end], end - begin
    return score(
        kernels, lambda tile: torch.nn.functional.linear(part, head[tile]), vocabulary, spec,
        torch.zeros(count, dtype=torch.long), torch.zeros(count, 64, dtype=torch.long), np.arange(begin, end),
    )

run(0, 4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for begin in range(0, positions, chunk):
    run(begin, begin + chunk)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.mark.parametrize("kernels", ["TorchKernels(torch.float32)", "NativeKernels(load_library())"])
def test_extra_memory_does_not_grow_with_positions_times_vocabulary(kernels: str) -> None:
    if kernels.startswith("Native") and shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    program = PROGRAM.format(kernels=kernels)
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=110, check=True)
    extra = int(result.stdout)
    assert extra < LIMIT_BYTES, f"{extra / 2**20:.0f} MiB"
