"""How much of what a teacher can teach each form of its signal teaches: students of the bundled teacher's own language.

    python -m benchmarks.distillation [--seeds 3] [--steps 1500]

N positions, V vocabulary, K entries a position.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Qwen3Config

from benchmarks.result import Cell, Chart, Result, Row, machine, medians, number, versions
from benchmarks.teacher import MODEL, own_teacher
from seodang.distillation.data import Encoded
from seodang.distillation.evaluation import calibration_error
from seodang.distillation.evaluation.calibration import reliability_of
from seodang.distillation.loss import HiddenSignal, Objective, SampledSignal, Signal, TruncatedSignal
from seodang.distillation.recipes.room import StepPlan
from seodang.distillation.spec import Budget, HiddenTarget, SampledTarget, Target, Teacher
from seodang.distillation.targets import ShardSignals, TargetIdentity, TargetStore, plan_units, score_units
from seodang.distillation.teacher import TeacherConnection, open_teacher
from seodang.distillation.training import Batch, Checkpoints, Student, Training, micro_batches, train
from seodang.distillation.training.engine import trained_hidden
from seodang.runtime.loading import load_engine
from seodang.runtime.sharding import Ranks
from seodang.worker.messages import Generate, LoadOptions, SamplingParams, TokenDelta, TokenPrompt

TEACHER: Final = Path(__file__).parents[1] / MODEL
VOCABULARY: Final = 4096
ID_BITS: Final = 12
LONGEST: Final = 128
STEP_TOKENS: Final = 512
RATE: Final = 3e-3
HELD_OUT: Final = 0.1
ALONE, WHOLE = "cross-entropy alone", "whole distribution"
SAMPLED: Final = SampledTarget(head=0, tail_draws=48)
OURS: Final = f"{SAMPLED.tail_draws} systematic draws, from the store"
SUMMARY: Final = f"""A small language model (Qwen3, 1 layer x 128) learns what the bundled teacher says at
temperature 1 when nobody asks it anything: the same texts, steps and first weights for every form of the teacher's
signal. On texts of the teacher that nobody trained on, `forward_kl` is the exact KL(teacher | student) in nats a
token; `gap_closed` is how far it is on the way from *{ALONE}* to the *{WHOLE}*; `calibration_points` is the expected
calibration error in points, and `calibration_to_whole` its distance from that of the whole distribution's student;
`draft_acceptance` is the probability that the teacher accepts a token which the student drafts for it. *{OURS}* goes
the product's whole way: the teacher's service, the packed wire, the store on disk; its bytes are the files' size, and
its draws fall on some 21 different tokens. The other forms are made from the exact distribution, their bytes are those
of their layout for this vocabulary: *as DistillKit* keeps the first entries exactly and a polynomial in the rank for
the others, *as Megatron* float16 log-probabilities, both with one bucket for all other tokens; *random draws* are those
of Random Sampling KD (ACL 2025), *renormalised* scales the kept entries to 1. The vocabulary has {VOCABULARY:,} tokens
and the teacher is sharp, which is kind to a top k. Medians over seeds of first weights, order and draws."""


@dataclass(frozen=True)
class Form:
    """One form of the signal: what it costs, and how to make it from the teacher's log-probabilities [N, V]."""

    bytes_per_position: float
    make: Callable[[Tensor, torch.Generator], Signal]


def sampled(log_p_NV: Tensor, draw: torch.Generator, *, count: int) -> Signal:
    ids_NK = log_p_NV.exp().multinomial(count, replacement=True, generator=draw)
    return SampledSignal(ids_NK, torch.full(ids_NK.shape, 1 / count), torch.zeros(len(ids_NK)))


def renormalised(log_p_NV: Tensor, draw: torch.Generator, *, count: int) -> Signal:
    del draw
    top = log_p_NV.topk(count)
    return SampledSignal(top.indices, top.values.softmax(-1), torch.zeros(len(top.indices)))


def bucket(log_p_NV: Tensor, draw: torch.Generator, *, count: int) -> Signal:
    """float16 log-probabilities."""
    del draw
    top = log_p_NV.topk(count)
    return _with_bucket(top.indices, top.values.half().float())


def polynomial(log_p_NV: Tensor, draw: torch.Generator, *, count: int, exact: int, terms: int) -> Signal:
    """bfloat16 for the first ``exact``, least squares over powers of the rank for the others."""
    del draw
    top = log_p_NV.topk(count)
    rest = top.values[:, exact:].double()
    ranks = torch.linspace(0, 1, rest.shape[1], dtype=torch.float64)
    powers = torch.stack([ranks**power for power in range(terms)], 1)
    fitted = (rest @ torch.linalg.pinv(powers).T @ powers.T).float()
    return _with_bucket(top.indices, torch.cat([top.values[:, :exact].bfloat16().float(), fitted], 1))


def _with_bucket(ids_NK: Tensor, log_probs_NK: Tensor) -> Signal:
    outside_N = (1 - log_probs_NK.exp().sum(1)).clamp(min=1e-6)
    return TruncatedSignal(ids_NK, log_probs_NK, outside_N.log())


FORMS: Final[dict[str, Form]] = {
    "12 random draws": Form(36, partial(sampled, count=12)),
    "top 12, renormalised": Form(12 * (2 + ID_BITS / 8), partial(renormalised, count=12)),
    "top 12 and a bucket": Form(12 * (2 + ID_BITS / 8), partial(bucket, count=12)),
    "top 50 as DistillKit (1 exact, 3 terms)": Form(
        2 + 12 + 50 * ID_BITS / 8, partial(polynomial, count=50, exact=1, terms=3)
    ),
    "top 128 as DistillKit (16 exact, 6 terms)": Form(
        32 + 24 + 128 * ID_BITS / 8, partial(polynomial, count=128, exact=16, terms=6)
    ),
    "top 128 as Megatron": Form(128 * 4, partial(bucket, count=128)),
}


@dataclass(frozen=True)
class Lesson:
    """What everyone learns from: the same steps of the same texts, each with its form of the signal."""

    objective: Objective
    plan: StepPlan
    signal: Callable[[np.ndarray], Signal | None]

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        """See ``Lessons``."""
        del student
        return [(batch, self.signal(batch.rows_N)) for batch in self.plan.batches(step)]


def texts(count: int) -> Encoded:
    """What the teacher says after its first token, until it ends or for ``LONGEST`` tokens."""
    options = LoadOptions(max_batch=64, max_waiting=count, cache_bytes=2**27)
    engine, _ = load_engine("teacher", str(TEACHER), options, Ranks.alone(), lambda *_: None)
    said: dict[str, list[int]] = {}
    for seed in range(count):
        said[str(seed)] = [0]
        engine.generate(
            Generate(
                request_id=str(seed), model_id="teacher", prompt=TokenPrompt(token_ids=(0,)), max_new_tokens=LONGEST,
                sampling=SamplingParams(temperature=1.0, seed=seed),
            )
        )  # fmt: skip
    while engine.busy:
        for event in engine.step():
            if isinstance(event, TokenDelta):
                said[event.request_id] += event.token_ids
    return Encoded.of([(ids, 1) for ids in said.values()])


def scored(
    folder: Path, teacher: TeacherConnection, encoded: Encoded, target: Target, seed: int
) -> tuple[ShardSignals, float]:
    """The teacher's signal by the product's way, and bytes of the store a position."""
    identity = TargetIdentity.of(teacher.identity, target, temperature=1.0, seed=seed, data_sha256=encoded.sha256)
    store = TargetStore(folder, identity)
    shard = score_units(store, plan_units(encoded), teacher, lambda positions: None)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return ShardSignals(shard, target, store.head_to_multiply()), size / len(encoded.labels)


def dense(signals: ShardSignals, rows: np.ndarray) -> Tensor:
    """The teacher's log-probabilities [N, V] at positions."""
    whole = signals.at(rows)
    assert isinstance(whole, HiddenSignal)
    return (whole.hidden_NH @ whole.head_VH.float().T).log_softmax(-1)


def fresh_student(seed: int) -> Student:
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=128, intermediate_size=384, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=2 * LONGEST, tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(seed)
    return Student(AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def taught(encoded: Encoded, lesson: Lesson, steps: int, seed: int) -> Student:
    student = fresh_student(seed)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(
            subject="student", fingerprint="", lessons=lesson, checkpoints=Checkpoints(Path(folder)),
            budget=Budget(steps=steps, tokens_per_step=STEP_TOKENS, learning_rate=RATE, checkpoint_steps=steps),
            dev=Encoded.of([([5, 6, 7], 1)]), on_point=lambda point: None, on_step=lambda state: None,
            before_checkpoint=lambda: None,
        )  # fmt: skip
        train(student, training)
    return student


@torch.no_grad()
def examined(student: Student, held_out: Encoded, signals: ShardSignals) -> dict[str, float]:
    """Against the teacher's exact distribution."""
    labels = held_out.labels
    confidence, right = np.zeros(len(labels)), np.zeros(len(labels), np.bool_)
    kl, accepted = 0.0, 0.0
    for batch in micro_batches(held_out, np.arange(len(held_out))):
        log_q_NV = (trained_hidden(student, batch) @ student.head_VH.T).log_softmax(-1)
        log_p_NV = dense(signals, batch.rows_N)
        kl += float((log_p_NV.exp() * (log_p_NV - log_q_NV)).sum())
        accepted += float(torch.minimum(log_p_NV, log_q_NV).exp().sum())
        best = log_q_NV.max(-1)
        confidence[batch.rows_N] = best.values.exp().numpy()
        right[batch.rows_N] = best.indices.numpy() == labels[batch.rows_N]
    return {
        "forward_kl": kl / len(labels),
        "calibration_points": 100 * calibration_error(reliability_of(confidence, right)),
        "draft_acceptance": accepted / len(labels),
    }


def of_seed(
    seed: int, steps: int, splits: tuple[Encoded, Encoded], wholes: tuple[ShardSignals, ShardSignals],
    ours: tuple[ShardSignals, float],
) -> dict[str, Row]:  # fmt: skip
    """A row a form."""
    (training, held_out), (whole, whole_held_out) = splits, wholes
    draw = torch.Generator().manual_seed(seed)
    signals: dict[str, tuple[float | None, Callable[[np.ndarray], Signal | None]]] = {
        ALONE: (None, lambda rows: None),
        WHOLE: (None, whole.at),
        OURS: (ours[1], ours[0].at),
    }
    for name, form in FORMS.items():
        signals[name] = form.bytes_per_position, partial(_made, form, whole, draw)
    found: dict[str, dict[str, Cell]] = {}
    for name, (size, signal) in signals.items():
        objective = Objective(cross_entropy_weight=1.0) if name == ALONE else Objective()
        student = taught(training, Lesson(objective, StepPlan(training, STEP_TOKENS, seed), signal), steps, seed)
        found[name] = {"bytes_per_position": size, **examined(student, held_out, whole_held_out)}
        print(f"seed {seed}, {name}: {found[name]}", flush=True)
    worst, best = found[ALONE], found[WHOLE]
    for row in found.values():
        here, top, bottom = (number(each, "forward_kl") for each in (row, worst, best))
        row["gap_closed"] = (top - here) / (top - bottom)
        points = number(row, "calibration_points")
        row["calibration_to_whole"] = abs(points - number(best, "calibration_points"))
        row["acceptance_to_alone"] = number(row, "draft_acceptance") / number(worst, "draft_acceptance")
    return dict(found)


def _made(form: Form, whole: ShardSignals, draw: torch.Generator, rows: np.ndarray) -> Signal:
    return form.make(dense(whole, rows), draw)


def measure(seeds: int, steps: int, count: int) -> list[Row]:
    """Medians over seeds."""
    encoded = texts(count)
    border = int(len(encoded) * (1 - HELD_OUT))
    splits = encoded.select(range(border)), encoded.select(range(border, len(encoded)))
    print(f"{len(splits[0].labels)} positions to learn from, {len(splits[1].labels)} held out", flush=True)
    found: dict[str, list[Row]] = {}
    with (
        tempfile.TemporaryDirectory() as root,
        own_teacher(MODEL, folder=TEACHER) as address,
        open_teacher(Teacher(model=MODEL, address=address)) as teacher,
    ):
        wholes = tuple(
            scored(Path(root) / f"whole-{number}", teacher, split, HiddenTarget(), 0)[0]
            for number, split in enumerate(splits)
        )
        for seed in range(seeds):
            ours = scored(Path(root) / f"sampled-{seed}", teacher, splits[0], SAMPLED, seed)
            for name, row in of_seed(seed, steps, splits, (wholes[0], wholes[1]), ours).items():
                found.setdefault(name, []).append(row)
    return [{"signal": name, **medians(rows)} for name, rows in found.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--texts", type=int, default=4000)
    given = parser.parse_args()
    before = machine()
    rows = measure(given.seeds, given.steps, given.texts)
    Result(
        name="distillation",
        title="What each form of the teacher's signal teaches",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.distillation", *sys.argv[1:]]),
        rows=rows,
        machine=before | {"seeds": given.seeds, "steps": given.steps, "texts": given.texts},
        versions=versions("torch", "transformers"),
        charts=[
            Chart("Share of the gap that is closed", "gap_closed", "signal"),
            Chart("Calibration error", "calibration_points", "signal"),
        ],
    ).write()


if __name__ == "__main__":
    main()
