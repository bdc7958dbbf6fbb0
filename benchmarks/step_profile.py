"""Where a step of our engine spends its time, and how near its matrices and attention are to the machine's limits.

    python -m benchmarks.step_profile            # the model that benchmarks.serving compares: about ten minutes
    python -m benchmarks.step_profile --quick --layers 2   # to see that it works; writes under out/bench

Needs a machine that does nothing else.
"""

import argparse
import contextlib
import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.peers import bandwidth, checkpoint
from benchmarks.peers.work import RESERVED_IDS
from benchmarks.result import RESULTS, Cell, Chart, Result, Row, interleaved, machine, number, versions
from seodang.runtime.attention import BLOCK_TOKENS, Group, attend
from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.kernels.weight import Weight
from seodang.runtime.loading import load_engine
from seodang.runtime.sampler import draw
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import DType, Failed, Generate, LoadOptions, SamplingParams, TokenPrompt

BENCH: Final = RESULTS.parents[1] / "out" / "bench"
WEIGHTS: Final[dict[str, DType]] = {"bf16": "bfloat16", "int8": "int8"}
PROMPT_TOKENS: Final = 256
SQUARES: Final = (1024, 2048)
"""Sizes of the matrices whose product is the limit of arithmetic: the faster one counts."""
MATRICES, ATTENTION, NORMS = "matrices", "attention", "norms"
CONVERSIONS, SAMPLING, OTHER, BETWEEN = "conversions", "sampling", "other_torch", "between"
KINDS: Final = (MATRICES, ATTENTION, NORMS, CONVERSIONS, OTHER, SAMPLING, BETWEEN)
OPERATIONS: Final = {"aten::linear": MATRICES, "aten::silu": NORMS, "aten::mul": NORMS, "aten::to": CONVERSIONS}
"""What our kernels leave to torch, by torch's name."""
SUMMARY: Final = """One step of our engine on the model of the comparison above ({layers} layers), taken apart by
torch's profiler: a decoding step moves every request on by one token, behind prompts of {prompt_tokens} tokens; a
prefill step computes such a prompt. `step ms` is without the profiler. Shares are of the profiled steps and add up to
one. *Matrices* are the layers' and the head's products (with few tokens the activation between two of them too, which
is one kernel with them); *norms* are norms, rotation, storing keys and values, which is one kernel with it, and, where
torch multiplies, activations and the scales of int8; *conversions* are changes of dtype, such as int8 to bf16 before
torch multiplies; *other torch* is all else that torch does: embedding, residual sums; *sampling* is from logits to
tokens; *between* is Python: scheduling, bookkeeping, calling. Rates count what must be read (weights and cache, each
once a step) and the multiplications and additions that must be done. A `limit share` is the least time that this can
take over what it takes: the longer of reading at the rate that memory is read at and computing at the rate of torch's
fastest bf16 product of large square matrices; both are measured in the same run, in turn with the steps, and named
below, beside what torch's int8 product reaches, of which int8 weights need two by tiles, one for each byte of an input.
`step limit share` is the same for the whole step: all else counts as avoidable."""


@dataclass
class Work:
    """What had to be done, at least."""

    bytes_read: float = 0.0
    operations: float = 0.0
    """Multiplications and additions, each one."""


@dataclass
class Watch:
    """Gives the parts of a step names in a profile, and counts what matrices and attention have to do."""

    matrices: Work = field(default_factory=Work)
    attended: list[tuple[torch.Tensor, int, int]] = field(default_factory=list)
    """Positions of queries, bytes read for a cached token, operations for a query and a cached token."""

    @contextlib.contextmanager
    def over_what_is_loaded(self) -> Iterator[None]:
        """Engines that are loaded and stepped inside are watched."""
        with (
            patch(
                "seodang.runtime.loading.choose_kernels", lambda *given: WatchedKernels(choose_kernels(*given), self)
            ),
            patch("seodang.runtime.models.llama.attend", self._attend),
            patch("seodang.runtime.engine.draw", record_function(SAMPLING)(draw)),
        ):
            yield

    def count_matrix(self, tokens: int, *weights: Weight) -> None:
        for weight in weights:
            self.matrices.bytes_read += weight.nbytes
            self.matrices.operations += 2 * tokens * weight.shape[0] * weight.shape[1]

    def count_attention(self, group: Group, query: torch.Tensor, keys: torch.Tensor, value_size: int) -> None:
        """Positions are only kept: adding them up would be in the profile."""
        heads, size = query.shape[-2:]
        cell = keys.shape[-2] * (size + value_size) * keys.element_size()
        self.attended.append((group.positions_RQ, cell, 2 * heads * (size + value_size)))

    def take(self) -> tuple[Work, Work]:
        """Matrices and attention since the last time."""
        matrices, attention = self.matrices, Work()
        for positions_RQ, cell_bytes, operations in self.attended:
            attention.bytes_read += cell_bytes * int((positions_RQ.amax(-1) + 1).sum())
            attention.operations += operations * int((positions_RQ + 1).sum())
        self.matrices, self.attended = Work(), []
        return matrices, attention

    def _attend(
        self, group: Group, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **more: Any
    ) -> torch.Tensor:
        self.count_attention(group, query, key, value.shape[-1])
        with record_function(ATTENTION):
            return attend(group, query, key, value, **more)


class WatchedKernels:
    """Kernels of an engine under a watch."""

    def __init__(self, kernels: Kernels, watch: Watch) -> None:
        self._kernels = kernels
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernels, name)

    def linear(self, x_TK: torch.Tensor, weight_NK: Weight) -> torch.Tensor:
        self._watch.count_matrix(len(x_TK), weight_NK)
        with record_function(MATRICES):
            return self._kernels.linear(x_TK, weight_NK)

    def logits(self, x_TK: torch.Tensor, head_NK: torch.Tensor) -> torch.Tensor:
        self._watch.count_matrix(len(x_TK), head_NK)
        with record_function(MATRICES):
            return self._kernels.logits(x_TK, head_NK)

    def gated(self, x_TH: torch.Tensor, gate_up_IH: Weight, down_HI: Weight) -> torch.Tensor:
        self._watch.count_matrix(len(x_TH), gate_up_IH, down_HI)
        with record_function(MATRICES):
            return self._kernels.gated(x_TH, gate_up_IH, down_HI)

    def rms_norm(self, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        with record_function(NORMS):
            return self._kernels.rms_norm(x, weight, epsilon)

    def rotate(self, x_TND: torch.Tensor, cos_sin: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        with record_function(NORMS):
            return self._kernels.rotate(x_TND, cos_sin)

    def place_heads(self, *given: Any) -> torch.Tensor:
        with record_function(NORMS):
            return self._kernels.place_heads(*given)

    def attention(
        self,
        query_RND: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        value_size: int,
        group: Group,
        scale: float,
    ) -> torch.Tensor:
        self._watch.count_attention(group, query_RND, keys, value_size)
        with record_function(ATTENTION):
            return self._kernels.attention(query_RND, keys, values, value_size, group, scale)


def seconds_of_kinds(run: Callable[[], None]) -> dict[str, float]:
    """Of everything that ``run`` does, by kind; they add up to the time that it takes."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        begin = time.perf_counter()
        run()
        total_s = time.perf_counter() - begin
    seconds = dict.fromkeys(KINDS, 0.0)
    for event in found.events():
        seconds[_kind(event)] += event.self_cpu_time_total / 1e6
    seconds[BETWEEN] = total_s - sum(seconds.values())
    return seconds


def _kind(event: Any) -> str:
    """Of the innermost that has one, from the event outwards."""
    while event is not None:
        kind: str = OPERATIONS.get(event.name, event.name)
        if kind in KINDS:
            return kind
        event = event.cpu_parent
    return OTHER


class Subject:
    """One engine, and the steps that are measured of it."""

    def __init__(self, folder: Path, dtype: DType, most: int, steps: int, watch: Watch) -> None:
        """``most`` requests at once; ``steps`` are measured each time, and profiled as often."""
        tokens = most * (PROMPT_TOKENS + most + 2 * steps + BLOCK_TOKENS) + BLOCK_TOKENS
        cache_bytes = tokens * checkpoint.cache_bytes_per_token(folder)
        options = LoadOptions(dtype=dtype, max_batch=most, cache_bytes=cache_bytes, prefill_tokens=PROMPT_TOKENS)
        self._engine, info = load_engine("bench", str(folder), options, Ranks.alone(), lambda *_: None)
        self._vocabulary = info.vocab_size
        self._steps = steps
        self._watch = watch
        self._draw = random.Random(0)
        self._numbers = itertools.count()

    def prefill(self) -> Row:
        """A step computes one prompt; each has a prompt of its own, so none is in the cache."""
        steps = -(-self._steps // 4)  # they take longer
        with self._requests(2 * steps, new_tokens=1):
            return self._measured(steps)

    def decode(self, batch: int) -> Row:
        with self._requests(batch, new_tokens=batch + 2 * self._steps + 1):
            self._step(batch)  # one prompt at a time, beside those that decode already
            return self._measured(self._steps)

    def _measured(self, steps: int) -> Row:
        """Milliseconds and work of one step: so many without the profiler, then so many with it."""
        begin = time.perf_counter()
        self._step(steps)
        plain_s = time.perf_counter() - begin
        self._watch.take()
        seconds = seconds_of_kinds(lambda: self._step(steps))
        row = {"step_ms": 1e3 * plain_s / steps}
        row |= {f"{kind}_ms": 1e3 * value / steps for kind, value in seconds.items()}
        for kind, work in zip((MATRICES, ATTENTION), self._watch.take(), strict=True):
            row |= {f"{kind}_bytes": work.bytes_read / steps, f"{kind}_operations": work.operations / steps}
        return row

    def _step(self, steps: int) -> None:
        for _ in range(steps):
            for event in self._engine.step():
                if isinstance(event, Failed):
                    raise RuntimeError(f"request {event.request_id}: {event.message}")

    @contextlib.contextmanager
    def _requests(self, count: int, new_tokens: int) -> Iterator[None]:
        """Under way inside the block."""
        names = [str(next(self._numbers)) for _ in range(count)]
        for name in names:
            ids = tuple(self._draw.randrange(RESERVED_IDS, self._vocabulary) for _ in range(PROMPT_TOKENS))
            self._engine.generate(
                Generate(
                    request_id=name, model_id="bench", prompt=TokenPrompt(token_ids=ids),
                    sampling=SamplingParams(temperature=0.0), max_new_tokens=new_tokens, ignore_eos=True,
                )
            )  # fmt: skip
        yield
        for name in names:
            self._engine.cancel(name)


def limits() -> Row:
    """What this machine reaches with torch's threads: bytes read a second, multiplications and additions a second."""
    return {
        "bytes_per_s": bandwidth.read_bytes_per_s(),
        "operations_per_s": max(_square(size, torch.bfloat16, F.linear) for size in SQUARES),
        "int8_operations_per_s": max(_square(size, torch.int8, _linear_int8) for size in SQUARES),
    }


def _linear_int8(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch._int_mm(x, weight.T)


def _square(size: int, dtype: torch.dtype, product: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> float:
    """Multiplications and additions a second of one product, at its best."""
    left, right = (torch.randint(-9, 9, (size, size)).to(dtype) for _ in range(2))
    best_s = float("inf")
    for _ in range(5):
        begin = time.perf_counter()
        product(left, right)
        best_s = min(best_s, time.perf_counter() - begin)
    return 2 * size**3 / best_s


def row_of(measured: Row, found: Row) -> Row:
    """Shares, rates and what they come to beside the limits that were found."""
    whole_ms = sum(number(measured, f"{kind}_ms") for kind in KINDS)
    row: dict[str, Cell] = {"step_ms": measured["step_ms"]}
    row |= {f"{kind}_share": number(measured, f"{kind}_ms") / whole_ms for kind in KINDS}
    least_ms = 0.0
    for kind in (MATRICES, ATTENTION):
        taken_ms = number(measured, f"{kind}_ms")
        bytes_read, operations = number(measured, f"{kind}_bytes"), number(measured, f"{kind}_operations")
        # Reading and computing overlap, so the longer of both is the least time.
        least = max(bytes_read / number(found, "bytes_per_s"), operations / number(found, "operations_per_s"))
        row[f"{kind}_gb_per_s"] = bytes_read / taken_ms / 1e6
        row[f"{kind}_gflop_per_s"] = operations / taken_ms / 1e6
        row[f"{kind}_limit_share"] = 1e3 * least / taken_ms
        least_ms += 1e3 * least
    row["step_limit_share"] = least_ms / number(measured, "step_ms")
    return row


def measurements(subjects: Mapping[str, Subject], batches: Sequence[int]) -> dict[str, Callable[[], Row]]:
    """By name of row: weights and step."""
    found: dict[str, Callable[[], Row]] = {}
    for weights, subject in subjects.items():
        for batch in batches:
            found[f"{weights}|decoding, batch {batch}"] = partial(subject.decode, batch)
        found[f"{weights}|prefill, {PROMPT_TOKENS} tokens"] = subject.prefill
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one round of fewer steps, batch 1 and 8")
    parser.add_argument("--layers", type=int, default=checkpoint.LAYERS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=16, help="measured in a round, and profiled as often")
    given = parser.parse_args()
    rounds, steps, batches = (1, 4, [1, 8]) if given.quick else (given.rounds, given.steps, [1, 8, 32])
    threads = len(os.sched_getaffinity(0))
    torch.set_num_threads(threads)
    before, watch = machine(), Watch()
    folder = checkpoint.build(BENCH / f"qwen3-{given.layers}-layers", given.layers)
    with watch.over_what_is_loaded():
        subjects = {weights: Subject(folder, dtype, max(batches), steps, watch) for weights, dtype in WEIGHTS.items()}
        taken = interleaved({"limits": limits, **measurements(subjects, batches)}, rounds)
    found = taken.pop("limits")
    rows: list[Row] = []
    for name, measured in taken.items():
        weights, _, step = name.partition("|")
        rows.append({"step": step, "weights": weights, **row_of(measured, found)})
        print(rows[-1], flush=True)
    rates = {
        "memory_read_gb_per_s": number(found, "bytes_per_s") / 1e9,
        "bf16_gflop_per_s": number(found, "operations_per_s") / 1e9,
        "int8_gflop_per_s": number(found, "int8_operations_per_s") / 1e9,
    }
    is_whole = not given.quick and given.layers == checkpoint.LAYERS and rounds >= 3
    path = Result(
        name="step_profile",
        title="Where a step of our engine spends its time",
        summary=SUMMARY.format(layers=given.layers, prompt_tokens=PROMPT_TOKENS),
        command=" ".join(["python -m benchmarks.step_profile", *sys.argv[1:]]),
        rows=rows,
        machine=before | {"threads": threads, "rounds": rounds, "steps": steps, **rates},
        versions=versions("torch"),
        charts=[Chart("How near a step is to the machine's limits", "step_limit_share", "step", "weights")],
    ).write((RESULTS if is_whole else BENCH) / "step_profile.json")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
