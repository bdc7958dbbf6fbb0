import ctypes
import platform
import shutil

import pytest

from seodang.runtime.kernels.build import load_library
from seodang.runtime.kernels.native_kernels import Bfloat16, NativeKernels

NARROW = "-mno-avx512f"


@pytest.fixture(scope="module", params=["this machine's vectors", "vectors of 8"])
def library(request: pytest.FixtureRequest) -> ctypes.CDLL:
    """Kernels as compiled here, and as an x86 machine without AVX-512 compiles them."""
    if shutil.which("gcc") is None:
        pytest.skip("no gcc here")
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "vectors of 8":
            if platform.machine() != "x86_64":
                pytest.skip("a variant of x86_64")
            patch.setenv("CC", f"gcc {NARROW}")
        return load_library()


@pytest.fixture(scope="module")
def native(library: ctypes.CDLL) -> NativeKernels:
    """The kernels under test."""
    return NativeKernels(library, bfloat16=Bfloat16.NOTHING)
