"""What a step has to do is counted exactly; its time is parted without a rest; limits are the machine's."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from benchmarks.result import Row, number
from benchmarks.step_profile import (
    ATTENTION,
    BETWEEN,
    CONVERSIONS,
    KINDS,
    MATRICES,
    NORMS,
    PROMPT_TOKENS,
    SAMPLING,
    Subject,
    Watch,
    WatchedKernels,
    row_of,
    seconds_of_kinds,
)
from tests.tiny_checkpoints import build
from torch.profiler import record_function
from transformers import AutoModelForCausalLM

from seodang.runtime.kernels.interface import Kernels
from seodang.worker.messages import DType

STEPS = 2
LAYERS, HEADS, KEY_HEADS, KEY_AND_VALUE = 2, 4, 2, 16 + 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("qwen3"), "qwen3", max_position_embeddings=1024)


@pytest.fixture(scope="module")
def numbers_in_matrices(folder: Path) -> dict[str, int]:
    """Of all matrices, and of the head, which is the embedding too."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    sizes = {name: weight.numel() for name, weight in model.named_parameters() if weight.ndim == 2}
    return {"all": sum(sizes.values()), "head": sizes["model.embed_tokens.weight"]}


@pytest.fixture
def subjects(folder: Path) -> Iterator[Callable[[DType], Subject]]:
    """Engines under one watch."""
    watch = Watch()
    with watch.over_what_is_loaded():
        yield lambda dtype: Subject(folder, dtype, 2, STEPS, watch)


def test_a_decoding_step_reads_every_matrix_once_and_every_cached_token(
    subjects: Callable[[DType], Subject], numbers_in_matrices: dict[str, int]
) -> None:
    row = subjects("bfloat16").decode(2)
    assert row["matrices_bytes"] == 2 * numbers_in_matrices["all"]
    assert row["matrices_operations"] == 2 * 2 * numbers_in_matrices["all"]
    # Of the two requests the one is at its tokens 260 and 261, the other one behind.
    tokens = (260 + 261 + 259 + 260) / 2
    assert row["attention_bytes"] == 2 * tokens * LAYERS * KEY_HEADS * KEY_AND_VALUE
    assert row["attention_operations"] == 2 * tokens * LAYERS * HEADS * KEY_AND_VALUE


def test_a_prefill_step_computes_a_whole_prompt_and_one_row_of_the_head(
    subjects: Callable[[DType], Subject], numbers_in_matrices: dict[str, int]
) -> None:
    row = subjects("bfloat16").prefill()
    layers = numbers_in_matrices["all"] - numbers_in_matrices["head"]
    assert row["matrices_operations"] == 2 * (PROMPT_TOKENS * layers + numbers_in_matrices["head"])
    looked_at = PROMPT_TOKENS * (PROMPT_TOKENS + 1) / 2
    assert row["attention_operations"] == 2 * looked_at * LAYERS * HEADS * KEY_AND_VALUE


def test_int8_matrices_are_counted_with_their_scales(
    subjects: Callable[[DType], Subject], numbers_in_matrices: dict[str, int]
) -> None:
    row = subjects("int8").decode(1)
    layers = numbers_in_matrices["all"] - numbers_in_matrices["head"]
    rows = LAYERS * ((HEADS + 2 * KEY_HEADS) * 16 + 64 + 2 * 96 + 64)
    assert row["matrices_bytes"] == layers + 4 * rows + 2 * numbers_in_matrices["head"]


def test_every_kind_of_work_of_a_step_has_its_time(subjects: Callable[[DType], Subject]) -> None:
    row = subjects("bfloat16").decode(2)
    assert all(number(row, f"{kind}_ms") > 0 for kind in KINDS)


def test_time_belongs_to_the_innermost_kind() -> None:
    numbers = torch.ones(512, 512)

    def run() -> None:
        with record_function(MATRICES), record_function(ATTENTION):
            for _ in range(10):
                numbers @ numbers
        with record_function(NORMS):
            for _ in range(10):
                numbers.to(torch.bfloat16)

    seconds = seconds_of_kinds(run)
    assert seconds[ATTENTION] > seconds[MATRICES] > 0
    assert seconds[CONVERSIONS] > 0
    assert seconds[SAMPLING] == 0
    assert seconds[BETWEEN] > 0


MEASURED: Row = {
    "step_ms": 10.0,
    **dict.fromkeys((f"{kind}_ms" for kind in KINDS), 1.0),
    "matrices_ms": 6.0,
    "matrices_bytes": 3e6,
    "matrices_operations": 4e6,
    "attention_ms": 4.0,
    "attention_bytes": 1e6,
    "attention_operations": 20e6,
}
LIMITS: Row = {"bytes_per_s": 1e9, "operations_per_s": 1e10}


def test_shares_of_a_step_add_up_to_one() -> None:
    row = row_of(MEASURED, LIMITS)
    assert sum(number(row, f"{kind}_share") for kind in KINDS) == pytest.approx(1)
    assert row["matrices_share"] == pytest.approx(6 / 15)


def test_the_limit_is_memory_or_arithmetic_whichever_takes_longer() -> None:
    row = row_of(MEASURED, LIMITS)
    assert (row["matrices_gb_per_s"], row["matrices_gflop_per_s"]) == pytest.approx((0.5, 4 / 6))
    assert row["matrices_limit_share"] == pytest.approx(3 / 6)  # reading 3 MB takes 3 ms, computing 0.4 ms
    assert row["attention_limit_share"] == pytest.approx(2 / 4)  # reading 1 ms, computing 2 ms
    assert row["step_limit_share"] == pytest.approx((3 + 2) / 10)


def test_every_kernel_of_the_model_has_a_kind() -> None:
    """One without would pass for Python's time."""
    kernels = {name for name, each in vars(Kernels).items() if callable(each) and not name.startswith("_")}
    elsewhere = {"context_dtype", "experts", "survey", "draw_tail"}  # no kernel, of other families, of scores
    assert kernels - elsewhere <= vars(WatchedKernels).keys()
