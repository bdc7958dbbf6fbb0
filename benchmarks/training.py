"""Training a student from stored targets beside TRL's GKDTrainer and a plain loop: the same models, data and machine.

The teacher (Qwen3, 8 layers of 512) and the student (4 layers of 256) have random weights and 32,000 tokens; a step
reads 4 sequences of 256. Ours reads a target store that a teacher process scored before; the others run the teacher in
each step. TRL gets an environment of its own under out/bench.

    python -m benchmarks.training [--rounds 3] [--steps 8]

Needs a machine that does nothing else.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, Qwen3Config

from benchmarks.peers.checkpoint import tokenizer
from benchmarks.peers.environments import Environment
from benchmarks.result import RESULTS, Cell, Chart, Result, Row, interleaved, machine, number, versions
from benchmarks.teacher import own_teacher
from seodang.distillation import CurvePoint
from seodang.distillation.data import Encoded
from seodang.distillation.loss import Objective, Signal
from seodang.distillation.spec import Budget, HiddenTarget, SampledTarget, Target, Teacher
from seodang.distillation.targets import ShardSignals, TargetIdentity, TargetStore, plan_units, score_units
from seodang.distillation.teacher import open_teacher
from seodang.distillation.training import Batch, Checkpoints, Student, Training, micro_batches, train

VOCABULARY: Final = 32_000
SEQUENCES: Final = 4
TOKENS: Final = 256
RATE: Final = 1e-3
MODEL: Final = "models/random"
FOLDER: Final = RESULTS.parents[1] / "out" / "bench" / "training"
TRL: Final = Environment("trl", ("torch==2.13.0", "trl==1.16.0"))
INSTALL_LIMIT_S, RUN_LIMIT_S = 1800.0, 1200.0
WARM_UP: Final = 2
REFERENCE: Final = "TRL GKDTrainer"
TARGETS: Final[dict[str, Target]] = {
    "Seodang, stored sampled target (4 + 8)": SampledTarget(head=4, tail_draws=8),
    "Seodang, stored hidden states": HiddenTarget(),
}
LABELS: Final = "Seodang, cross-entropy alone"
PLAIN: Final = "plain PyTorch loop"
SUMMARY = f"""Training a student of 4 layers x 256 by forward KL from a teacher of 8 layers x 512 (both Qwen3 with
random weights, {VOCABULARY:,} tokens, float32), {SEQUENCES} sequences of {TOKENS} tokens a step, AdamW. *{REFERENCE}*
(lmbda 0, beta 0) and the *{PLAIN}* run the teacher in every step and hold full logits of both; ours reads the target
store, which was scored before through the teacher's service: `scoring_tokens_per_s` is what that took, once, however
many students and epochs read it. `first_loss` is the loss of the first step from the same weights: equal numbers are
the same objective, the sampled one up to its noise (TRL reads the sequences in another order; cross-entropy is another
objective). Medians over steps, then over interleaved rounds."""


def prepare() -> torch.Tensor:
    """Teacher, student and tokens in ``FOLDER``, the same for everyone; the tokens, int64 [sequences, T]."""
    for name, layers, hidden in (("teacher", 8, 512), ("student", 4, 256)):
        config = Qwen3Config(
            vocab_size=VOCABULARY, hidden_size=hidden, intermediate_size=3 * hidden, num_hidden_layers=layers,
            num_attention_heads=hidden // 64, num_key_value_heads=hidden // 128, head_dim=64,
            max_position_embeddings=2 * TOKENS, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
        )  # fmt: skip
        torch.manual_seed(layers)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(FOLDER / name)
        files = tokenizer()
        files.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
        files.save_pretrained(FOLDER / name)
    tokens = torch.randint(300, VOCABULARY, (SEQUENCES * 16, TOKENS), generator=torch.Generator().manual_seed(0))
    torch.save(tokens, FOLDER / "tokens.pt")
    return tokens


class Stored:
    """Lessons as a job's are, but that every step reads the next sequences in order."""

    def __init__(self, encoded: Encoded, signals: ShardSignals | None) -> None:
        self.objective = Objective() if signals is not None else Objective(cross_entropy_weight=1.0)
        self._encoded = encoded
        self._signals = signals

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        """See ``Lessons``."""
        del student
        chosen = np.arange(step * SEQUENCES, (step + 1) * SEQUENCES)
        return [
            (batch, None if self._signals is None else self._signals.at(batch.rows_N))
            for batch in micro_batches(self._encoded, chosen)
        ]


def score(encoded: Encoded) -> dict[str, tuple[ShardSignals, float]]:
    """Each target's signal, through a real teacher, and tokens scored a second."""
    scored = {}
    with (
        own_teacher(MODEL, folder=FOLDER / "teacher") as address,
        open_teacher(Teacher(model=MODEL, address=address)) as teacher,
    ):
        for name, target in TARGETS.items():
            identity = TargetIdentity.of(teacher.identity, target, temperature=1.0, seed=0, data_sha256=encoded.sha256)
            with tempfile.TemporaryDirectory() as folder:
                store = TargetStore(Path(folder), identity)
                began_s = time.monotonic()
                shard = score_units(store, plan_units(encoded), teacher, lambda positions: None)
                seconds = time.monotonic() - began_s
                scored[name] = ShardSignals(shard, target, store.head_to_multiply()), len(encoded.tokens) / seconds
    return scored


def ours(lessons: Stored, steps: int) -> Row:
    """Our training loop."""
    student = Student(AutoModelForCausalLM.from_pretrained(FOLDER / "student", dtype=torch.float32))
    points: list[CurvePoint] = []
    ends = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder:
        train(
            student,
            Training(
                subject="student", fingerprint="", lessons=lessons, checkpoints=Checkpoints(Path(folder)),
                budget=Budget(steps=steps, tokens_per_step=SEQUENCES * TOKENS, learning_rate=RATE, warmup_fraction=0),
                dev=Encoded.of([([5, 6, 7], 1)]), on_point=points.append,
                on_step=lambda state: ends.append(time.perf_counter()), before_checkpoint=lambda: None,
            ),
        )  # fmt: skip
    # The last step also measures and saves.
    return as_row(ends[:-1], points[0].loss)


def plain(tokens: torch.Tensor, steps: int) -> Row:
    """What anyone would write: both models' full logits, PyTorch's own divergence."""
    teacher, student = (
        AutoModelForCausalLM.from_pretrained(FOLDER / name, dtype=torch.float32) for name in ("teacher", "student")
    )
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=0.1, fused=True)
    ends, losses = [time.perf_counter()], []
    for step in range(steps):
        ids = tokens[step * SEQUENCES : (step + 1) * SEQUENCES]
        with torch.no_grad():
            log_p = teacher(input_ids=ids).logits[:, :-1].log_softmax(-1).flatten(0, 1)
        log_q = student(input_ids=ids).logits[:, :-1].log_softmax(-1).flatten(0, 1)
        loss = F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        ends.append(time.perf_counter())
    return as_row(ends, losses[0])


def trl(python: Path, steps: int) -> Row:
    """TRL, in its own process and environment."""
    command = [str(python), "-m", "benchmarks.peers.trl_peer", str(FOLDER), str(steps), str(SEQUENCES), str(RATE)]
    done = subprocess.run(
        command, cwd=RESULTS.parents[1], capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False
    )
    if done.returncode:
        sys.exit(f"benchmarks.training: TRL ended with status {done.returncode}:\n{done.stderr[-2000:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    return as_row(np.cumsum([0.0, *told["seconds"]]).tolist(), told["loss"])


def as_row(ends: Sequence[float], first_loss: float) -> Row:
    """From the times at which steps ended, the first one's begin before them."""
    seconds = [end - begin for begin, end in pairwise(ends)][WARM_UP:]
    return {"tokens_per_s": SEQUENCES * TOKENS / statistics.median(seconds), "first_loss": first_loss}


def measure(rounds: int, steps: int) -> list[Row]:
    """A row a way, the fastest first."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    tokens = prepare()
    encoded = Encoded.of([(row.tolist(), 1) for row in tokens])
    python = TRL.python(INSTALL_LIMIT_S)
    scored = score(encoded)
    ways: dict[str, Callable[[], Row]] = {
        name: partial(ours, Stored(encoded, signals), steps) for name, (signals, _) in scored.items()
    }
    ways |= {
        LABELS: partial(ours, Stored(encoded, None), steps),
        PLAIN: partial(plain, tokens, steps),
        REFERENCE: partial(trl, python, steps),
    }
    found = interleaved(ways, rounds)
    rows: list[Row] = []
    for name, row in sorted(found.items(), key=lambda item: -number(item[1], "tokens_per_s")):
        scoring: Cell = scored[name][1] if name in scored else None
        ratio = number(row, "tokens_per_s") / number(found[REFERENCE], "tokens_per_s")
        rows.append({"way": name, **row, "ratio_to_trl": ratio, "scoring_tokens_per_s": scoring})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of each measurement, 2 of them to warm up; at most 16")
    given = parser.parse_args()
    before = machine()
    try:
        rows = measure(given.rounds, given.steps)
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)
    Result(
        name="training",
        title="Training from stored targets",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.training", *sys.argv[1:]]),
        rows=rows,
        machine=before | {"torch_threads": torch.get_num_threads()},
        versions=versions("torch", "transformers") | {"trl": "1.16.0"},
        charts=[Chart("Training tokens a second", value="tokens_per_s", label="way")],
    ).write()


if __name__ == "__main__":
    main()
