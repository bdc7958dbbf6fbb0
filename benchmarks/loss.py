"""The chunked distillation loss beside a plain one over full logits: time and peak memory of forward and backward.

N positions, V vocabulary, H width of the student, T width of the teacher. Every measurement has a process of its own,
so that its peak of memory is its own too; the loss's inputs (hidden states, heads) are there before and do not count,
the gradients of hidden states and head do. Linux only: it reads and resets the peak in /proc.

    python -m benchmarks.loss [--rounds 3] [--positions 1024] [--output PATH]
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.result import Chart, Result, Row, interleaved, machine, number, versions
from seodang.distillation.loss import HiddenSignal, Objective, SampledSignal, distillation_loss

VOCABULARIES: Final = (163_840, 32_000)
STUDENT_WIDTH: Final = 256
TEACHER_WIDTH: Final = 512
ENTRIES: Final = 12
FORWARD, JSD, LABELS = Objective(), Objective("generalized_jsd", beta=0.5), Objective(cross_entropy_weight=1.0)
LIMIT_S: Final = 120.0
SUMMARY = f"""Forward and backward of the loss alone, from the student's last hidden states (width {STUDENT_WIDTH}) to
the gradients of hidden states and output head, float32. *Plain* is what PyTorch's own functions do with full logits;
*chunked* is [`distillation_loss`](../libs/seodang/distillation/loss). The teacher's whole distribution comes as hidden
states (width {TEACHER_WIDTH}) and its head, the sampled one as {ENTRIES} entries a position. `peak extra` is resident
memory above what the inputs take. `time ratio` and `memory ratio` compare with the plain cross-entropy of the same
vocabulary, which any training needs even without a teacher; `of plain` with the plain loss of the same objective."""


@dataclass(frozen=True)
class Inputs:
    hidden_NH: Tensor
    head_VH: Tensor
    labels_N: Tensor
    teacher_hidden_NT: Tensor
    teacher_head_VT: Tensor
    sampled: SampledSignal

    @classmethod
    def make(cls, positions: int, vocabulary: int) -> "Inputs":
        torch.manual_seed(0)
        ids_NK = torch.randint(vocabulary, (positions, ENTRIES))
        sampled = SampledSignal(ids_NK, torch.full((positions, ENTRIES), 1 / ENTRIES), torch.zeros(positions))
        return cls(
            torch.randn(positions, STUDENT_WIDTH).requires_grad_(),
            (torch.randn(vocabulary, STUDENT_WIDTH) * STUDENT_WIDTH**-0.5).requires_grad_(),
            torch.randint(vocabulary, (positions,)),
            torch.randn(positions, TEACHER_WIDTH),
            torch.randn(vocabulary, TEACHER_WIDTH) * TEACHER_WIDTH**-0.5,
            sampled,
        )


def plain_cross_entropy(inputs: Inputs) -> Tensor:
    return F.cross_entropy(inputs.hidden_NH @ inputs.head_VH.T, inputs.labels_N)


def plain_forward_kl(inputs: Inputs) -> Tensor:
    log_p, log_q = _log_probs(inputs)
    return F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


def plain_jsd(inputs: Inputs) -> Tensor:
    log_p, log_q = _log_probs(inputs)
    half = torch.tensor(0.5).log()
    log_m = torch.logaddexp(log_p + half, log_q + half)
    kls = [F.kl_div(log_m, log, reduction="batchmean", log_target=True) for log in (log_p, log_q)]
    return (kls[0] + kls[1]) / 2


def _log_probs(inputs: Inputs) -> tuple[Tensor, Tensor]:
    log_p_NV = (inputs.teacher_hidden_NT @ inputs.teacher_head_VT.T).log_softmax(-1)
    return log_p_NV, (inputs.hidden_NH @ inputs.head_VH.T).log_softmax(-1)


def chunked(inputs: Inputs, objective: Objective, target: str) -> Tensor:
    whole = HiddenSignal(inputs.teacher_hidden_NT, inputs.teacher_head_VT)
    signal = {"whole": whole, "sampled": inputs.sampled, "labels": None}[target]
    return distillation_loss(inputs.hidden_NH, inputs.head_VH, inputs.labels_N, signal, objective).loss


@dataclass(frozen=True)
class Contestant:
    objective: str
    way: str
    loss: Callable[[Inputs], Tensor]


CONTESTANTS: Final = (
    Contestant("cross-entropy", "plain", plain_cross_entropy),
    Contestant("cross-entropy", "chunked", partial(chunked, objective=LABELS, target="labels")),
    Contestant("forward KL, sampled target", "chunked", partial(chunked, objective=FORWARD, target="sampled")),
    Contestant("forward KL, whole distribution", "plain", plain_forward_kl),
    Contestant("forward KL, whole distribution", "chunked", partial(chunked, objective=FORWARD, target="whole")),
    Contestant("JSD at beta 0.5, whole distribution", "plain", plain_jsd),
    Contestant("JSD at beta 0.5, whole distribution", "chunked", partial(chunked, objective=JSD, target="whole")),
)


def measure(index: int, positions: int, vocabulary: int, threads: int, reply: Connection) -> None:
    """In a process of its own: the first pass for the peak, the second for the time."""
    torch.set_num_threads(threads)
    _pass(index, Inputs.make(positions=8, vocabulary=128))  # the libraries' own buffers are not the loss's
    inputs = Inputs.make(positions, vocabulary)
    before = _resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is resident now
    value = _pass(index, inputs)
    peak = _resident_bytes("VmHWM") - before
    started = time.perf_counter()
    _pass(index, inputs)
    reply.send({"time_s": time.perf_counter() - started, "peak_extra_mib": peak / 2**20, "loss": value})


def _pass(index: int, inputs: Inputs) -> float:
    inputs.hidden_NH.grad = inputs.head_VH.grad = None
    loss = CONTESTANTS[index].loss(inputs)
    loss.backward()  # type: ignore[no-untyped-call]
    return float(loss.detach())


def _resident_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/self/status has no {field}")


def in_own_process(index: int, positions: int, vocabulary: int, threads: int) -> Row:
    context = multiprocessing.get_context("forkserver")  # torch is imported once, the memory is fresh each time
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=measure, args=(index, positions, vocabulary, threads, theirs))
    process.start()
    theirs.close()
    try:
        if not ours.poll(LIMIT_S):
            raise TimeoutError(f"{CONTESTANTS[index]} gave no result within {LIMIT_S:g} s")
        row: Row = ours.recv()
        return row
    finally:
        process.kill()
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--output", type=Path, help="of the result; by default the committed one")
    given = parser.parse_args()
    before, threads = machine(), torch.get_num_threads()
    multiprocessing.get_context("forkserver").set_forkserver_preload(["torch", "seodang.distillation.loss"])
    rows: list[Row] = []
    for vocabulary in VOCABULARIES:
        measurements = {
            str(index): partial(in_own_process, index, given.positions, vocabulary, threads)
            for index in range(len(CONTESTANTS))
        }
        rows += compare(vocabulary, given.positions, interleaved(measurements, given.rounds))
    Result(
        name="loss",
        title="The chunked distillation loss",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.loss", *sys.argv[1:]]),
        rows=rows,
        machine=before | {"torch_threads": threads},
        versions=versions("torch"),
        charts=[
            Chart(
                f"Peak extra memory, vocabulary {VOCABULARIES[0]:,}", value="peak_extra_mib", label="objective",
                series="way", where={"vocabulary": str(VOCABULARIES[0])},
            ),
            Chart(
                f"Time of a pass, vocabulary {VOCABULARIES[0]:,}", value="time_s", label="objective",
                series="way", where={"vocabulary": str(VOCABULARIES[0])},
            ),
        ],
    ).write(given.output)  # fmt: skip


def compare(vocabulary: int, positions: int, found: Mapping[str, Row]) -> list[Row]:
    """Rows of one vocabulary, each beside plain cross-entropy and beside the plain loss of its objective.

    Raises:
        ValueError: two ways to compute one objective disagree, so their times would mean nothing.
    """
    rows: list[Row] = []
    plain = {each.objective: found[str(index)] for index, each in enumerate(CONTESTANTS) if each.way == "plain"}
    for index, each in enumerate(CONTESTANTS):
        own, base, same = found[str(index)], plain["cross-entropy"], plain.get(each.objective)
        if same is not None and abs(_ratio(own, same, "loss") - 1) > 1e-3:
            raise ValueError(f"{each.objective}: {each.way} says {own['loss']}, plain says {same['loss']}")
        ratios = {
            "time_ratio": _ratio(own, base, "time_s"),
            "memory_ratio": _ratio(own, base, "peak_extra_mib"),
            "time_of_plain": None if same is None else _ratio(own, same, "time_s"),
            "memory_of_plain": None if same is None else _ratio(own, same, "peak_extra_mib"),
        }
        sizes = {"vocabulary": vocabulary, "positions": positions}
        times = {"time_s": own["time_s"], "peak_extra_mib": own["peak_extra_mib"]}
        rows.append({"objective": each.objective, "way": each.way, **sizes, **times, **ratios})
        print(rows[-1], flush=True)
    return rows


def _ratio(own: Row, other: Row, column: str) -> float:
    return number(own, column) / number(other, column)


if __name__ == "__main__":
    main()
