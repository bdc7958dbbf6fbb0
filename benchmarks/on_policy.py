"""On-policy distillation beside TRL's DistillationTrainer: the same models, prompts, lengths and machine.

The teacher (Qwen3, 8 layers of 512) and the student (4 layers of 256) have random weights and 32,000 tokens; in a step
the student continues 4 prompts of 128 tokens by 128, the teacher scores what it said, and the student learns from it.

    python -m benchmarks.on_policy [--rounds 3] [--steps 6]

Needs a machine that does nothing else.
"""

import argparse
import json
import random
import shutil
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.result import RESULTS, Chart, Result, Row, interleaved, machine, number, versions
from benchmarks.teacher import own_teacher
from benchmarks.training import FOLDER, INSTALL_LIMIT_S, MODEL, RATE, RUN_LIMIT_S, TRL, prepare
from seodang.distillation.data import Encoded
from seodang.distillation.loss import Objective, Signal
from seodang.distillation.runtime_kernels import has_exact_bfloat16
from seodang.distillation.spec import Budget, Dtype, HiddenTarget, Teacher
from seodang.distillation.targets import ShardSignals, TargetIdentity, TargetStore, Unit, score_units
from seodang.distillation.teacher import TeacherConnection, open_teacher
from seodang.distillation.training import Batch, Checkpoints, Student, Training, micro_batches, train
from seodang.distillation.training.sampler import sample

PROMPTS: Final = 4
PROMPT_TOKENS: Final = 128
NEW_TOKENS: Final = 128
WARM_UP: Final = 1
DTYPES: Final[tuple[Dtype, ...]] = ("float32", "bfloat16")
OURS, REFERENCE = "Seodang, teacher behind its service", "TRL DistillationTrainer"
SUMMARY: Final = f"""A step of on-policy distillation by reverse KL at temperature 1, AdamW: the student of 4
layers x 256 continues {PROMPTS} prompts of {PROMPT_TOKENS} tokens by {NEW_TOKENS} tokens (no answer ends earlier), the
teacher of 8 layers x 512 scores them, and the student takes a step on its whole distribution. *{REFERENCE}* holds the
teacher in its process and samples with transformers' `generate`; ours samples through its runtime and asks a teacher's
service on the same machine for hidden states, which it keeps on disk before it uses them, so that a step done again
after a crash asks for nothing. Both compute in `dtype`: bfloat16, the default of TRL's configuration, is `bf16=True`
with a bfloat16 teacher there, and the job's `dtype` with a bfloat16 teacher here; weights and moments stay float32.
`bfloat16 tiles` says whether the processor has AMX for it. `completion_tokens_per_s` counts the student's own tokens
over whole steps. Medians over steps, then over interleaved rounds."""


class OnPolicy:
    """Lessons as a job's are, on prompts in order."""

    objective = Objective("reverse_kl")

    def __init__(self, prompts: list[list[int]], teacher: TeacherConnection, store: TargetStore) -> None:
        self._prompts = prompts
        self._teacher = teacher
        self._store = store

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        """See ``Lessons``."""
        prompts = self._prompts[step * PROMPTS : (step + 1) * PROMPTS]
        answers = sample(student, prompts, end_id=-1, max_new_tokens=NEW_TOKENS, temperature=1.0, seed=step)
        said = Encoded.of([([*prompt, *answer], len(prompt)) for prompt, answer in zip(prompts, answers, strict=True)])
        shard = score_units(self._store, [Unit(f"{step:08d}", said)], self._teacher, lambda positions: None)
        signals = ShardSignals(shard, HiddenTarget(), self._store.head_to_multiply())
        return [(batch, signals.at(batch.rows_N)) for batch in micro_batches(said, np.arange(len(said)))]


def ours(prompts: list[list[int]], teacher: TeacherConnection, steps: int, dtype: Dtype) -> Row:
    """Our training loop, with a fresh store."""
    student = Student(AutoModelForCausalLM.from_pretrained(FOLDER / "student", dtype=torch.float32))
    ends = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        identity = TargetIdentity.of(teacher.identity, HiddenTarget(), temperature=1.0, seed=0, data_sha256="")
        lessons = OnPolicy(prompts, teacher, TargetStore(Path(folder) / "store", identity))
        train(
            student,
            Training(
                subject="student", fingerprint="", lessons=lessons, checkpoints=Checkpoints(Path(folder)),
                budget=Budget(steps=steps, tokens_per_step=1, learning_rate=RATE, warmup_fraction=0, dtype=dtype),
                dev=Encoded.of([([5, 6, 7], 1)]), on_point=lambda point: None,
                on_step=lambda state: ends.append(time.perf_counter()), before_checkpoint=lambda: None,
            ),
        )  # fmt: skip
    # The last step also measures and saves.
    return as_row(ends[:-1])


def trl(python: Path, steps: int, dtype: Dtype) -> Row:
    """TRL, in its own process and environment."""
    numbers = map(str, (steps, PROMPTS, NEW_TOKENS, RATE))
    command = [str(python), "-m", "benchmarks.peers.trl_on_policy_peer", str(FOLDER), *numbers, dtype]
    done = subprocess.run(
        command, cwd=RESULTS.parents[1], capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False
    )
    if done.returncode:
        sys.exit(f"benchmarks.on_policy: TRL ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    return as_row(np.cumsum([0.0, *json.loads(done.stdout.strip().splitlines()[-1])["seconds"]]).tolist())


def as_row(ends: Sequence[float]) -> Row:
    """From the times at which steps ended, the first one's begin before them."""
    seconds = [end - begin for begin, end in pairwise(ends)][WARM_UP:]
    return {"completion_tokens_per_s": PROMPTS * NEW_TOKENS / statistics.median(seconds)}


def measure(rounds: int, steps: int) -> list[Row]:
    """A row a way."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    prepare()
    letters = random.Random(0)
    texts = ["".join(letters.choices(string.ascii_letters, k=PROMPT_TOKENS)) for _ in range(steps * PROMPTS)]
    (FOLDER / "prompts.json").write_text(json.dumps(texts))
    tokenizer = AutoTokenizer.from_pretrained(FOLDER / "student")
    prompts = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    assert {len(prompt) for prompt in prompts} == {PROMPT_TOKENS}
    python = TRL.python(INSTALL_LIMIT_S)
    with ExitStack() as stack:
        ways: dict[str, Callable[[], Row]] = {}
        for dtype in DTYPES:
            address = stack.enter_context(own_teacher(MODEL, folder=FOLDER / "teacher", dtype=dtype))
            teacher = stack.enter_context(open_teacher(Teacher(model=MODEL, address=address)))
            ways[f"{OURS}, {dtype}"] = partial(ours, prompts, teacher, steps, dtype)
            ways[f"{REFERENCE}, {dtype}"] = partial(trl, python, steps, dtype)
        found = interleaved(ways, rounds)
    rows: list[Row] = []
    for dtype in DTYPES:
        reference = number(found[f"{REFERENCE}, {dtype}"], "completion_tokens_per_s")
        for way in (OURS, REFERENCE):
            row = found[f"{way}, {dtype}"]
            ratio = number(row, "completion_tokens_per_s") / reference
            rows.append({"way": way, "dtype": dtype, **row, "ratio_to_trl": ratio})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="of each measurement, 1 of them to warm up")
    given = parser.parse_args()
    before = machine()
    try:
        rows = measure(given.rounds, given.steps)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    Result(
        name="on_policy",
        title="Training on what the student says",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.on_policy", *sys.argv[1:]]),
        rows=rows,
        machine=before | {"torch_threads": torch.get_num_threads(), "bfloat16_tiles": has_exact_bfloat16()},
        versions=versions("torch", "transformers") | {"trl": "1.16.0"},
        charts=[
            Chart("The student's own tokens a second", value="completion_tokens_per_s", label="dtype", series="way")
        ],
    ).write()


if __name__ == "__main__":
    main()
