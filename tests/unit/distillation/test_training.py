"""The loop and its checkpoints, on a student small enough to watch."""

import dataclasses
import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
import pytest
import torch

from seodang.base.errors import Conflict, InvalidInput, Unsupported
from seodang.distillation import CurvePoint
from seodang.distillation.data import Encoded
from seodang.distillation.loss import HiddenSignal, Objective, Signal
from seodang.distillation.recipes.labels import Labels
from seodang.distillation.spec import Budget, ConfigShape, DenseShape
from seodang.distillation.training import (
    Batch,
    Checkpoints,
    Student,
    Training,
    build_student,
    collate,
    load_student,
    micro_batches,
    train,
)
from seodang.distillation.training.engine import _Loop, dev_loss, trained_hidden
from seodang.distillation.training.matching import StateMatching
from seodang.distillation.training.schedule import learning_rate

V, END = 24, 1
SHAPE = DenseShape(hidden_size=16, layers=1, heads=2, kv_heads=1, intermediate_size=32)
BUDGET = Budget(steps=20, tokens_per_step=120, checkpoint_steps=5, learning_rate=0.01)


class Died(Exception):
    """Stands for a kill between two steps."""


def student(seed: int = 0) -> Student:
    return build_student(SHAPE, V, END, context_tokens=64, seed=seed)


def lessons() -> Encoded:
    """Copy the token that was named."""
    rng = np.random.default_rng(0)
    return Encoded.of([([int(a), int(b), int(a), END], 2) for a, b in rng.integers(2, V, (80, 2))])


class DyingLabels(Labels):
    """Dies when it is asked for a step."""

    def __init__(self, dies_at: int) -> None:
        super().__init__(lessons(), BUDGET.tokens_per_step, seed=7)
        self._dies_at = dies_at

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        if step == self._dies_at:
            raise Died
        return super().step(step, student)


def training(
    folder: Path, points: list[CurvePoint], *, dies_at: int = -1, budget: Budget = BUDGET, fingerprint: str = "f"
) -> Training:
    return Training(
        subject="student",
        fingerprint=fingerprint,
        budget=budget,
        lessons=DyingLabels(dies_at),
        dev=lessons().select(range(10)),
        checkpoints=Checkpoints(folder),
        on_point=points.append,
        on_step=lambda state: None,
        before_checkpoint=lambda: None,
    )


def weights(student: Student) -> list[bytes]:
    return [parameter.detach().numpy().tobytes() for parameter in student.model.parameters()]


def test_training_learns(tmp_path: Path) -> None:
    points: list[CurvePoint] = []
    budget = Budget(steps=150, tokens_per_step=300, checkpoint_steps=50, learning_rate=0.01)
    train(student(), training(tmp_path, points, budget=budget))
    assert points[0].loss > 2.5
    assert points[-1].loss < 1.0
    assert [point.step for point in points if point.eval_loss is not None] == [50, 100, 150]


@pytest.mark.parametrize(("optimizer", "dies_at"), [*(("adamw", n) for n in (1, 5, 6, 13, 19)), ("muon", 8)])
def test_a_training_that_died_goes_on_bit_by_bit_the_same(
    tmp_path: Path, optimizer: Literal["adamw", "muon"], dies_at: int
) -> None:
    budget = msgspec.structs.replace(BUDGET, optimizer=optimizer)
    calm, broken = student(), student()
    calm_points: list[CurvePoint] = []
    train(calm, training(tmp_path / "calm", calm_points, budget=budget))
    points: list[CurvePoint] = []
    with pytest.raises(Died):
        train(broken, training(tmp_path / "broken", points, dies_at=dies_at, budget=budget))
    resumed = student()
    train(resumed, training(tmp_path / "broken", points, budget=budget))
    assert weights(resumed) == weights(calm)
    losses = {point.step: (point.loss, point.eval_loss) for point in points}
    assert losses == {point.step: (point.loss, point.eval_loss) for point in calm_points}


class FollowedStates(DyingLabels):
    """Hidden states of a teacher that is wider than the student, to be followed."""

    objective = Objective()
    head_VG = torch.randn(V, 20, generator=torch.Generator().manual_seed(2))
    states_PG = head_VG[torch.from_numpy(lessons().labels.astype(np.int64))]

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        return [
            (batch, HiddenSignal(self.states_PG[batch.rows_N], self.head_VG))
            for batch, _ in super().step(step, student)
        ]


def follow_states(folder: Path, dies_at: int = -1, learner: Student | None = None) -> tuple[Student, StateMatching]:
    learner, matching = learner or student(), StateMatching(16, 20, seed=3)
    given = dataclasses.replace(training(folder, []), lessons=FollowedStates(dies_at), matching=matching)
    train(learner, given)
    return learner, matching


def test_states_are_followed_and_the_map_survives_a_death(tmp_path: Path) -> None:
    untrained, before = student(), StateMatching(16, 20, seed=3)
    calm, matching = follow_states(tmp_path / "calm")
    with pytest.raises(Died):
        follow_states(tmp_path / "broken", dies_at=13)
    resumed, again = follow_states(tmp_path / "broken")
    assert weights(resumed) == weights(calm)
    assert torch.equal(again.map.weight, matching.map.weight)
    (batch,) = micro_batches(lessons(), np.arange(80))
    with torch.no_grad():
        target_NG = FollowedStates.states_PG[batch.rows_N]
        first, last = (
            float(map_(trained_hidden(learner, batch), target_NG).mean())
            for learner, map_ in ((untrained, before), (calm, matching))
        )
    assert last < 0.8 * first


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_gpu_trains_the_same_student_and_goes_on_after_dying(
    tmp_path: Path, optimizer: Literal["adamw", "muon"]
) -> None:
    budget = msgspec.structs.replace(BUDGET, optimizer=optimizer)
    here: list[CurvePoint] = []
    train(student(), training(tmp_path / "cpu", here, budget=budget))
    there: list[CurvePoint] = []
    for dies_at in (8, -1):
        moved = student()
        moved.model.to("cuda")
        with pytest.raises(Died) if dies_at > 0 else nullcontext():
            train(moved, training(tmp_path / "cuda", there, dies_at=dies_at, budget=budget))
    losses = {point.step: point.loss for point in there}
    assert losses == pytest.approx({point.step: point.loss for point in here}, rel=2e-3)


def test_a_finished_training_is_not_begun_again(tmp_path: Path) -> None:
    first, again = student(), student()
    points: list[CurvePoint] = []
    state = train(first, training(tmp_path, points))
    count = len(points)
    assert train(again, training(tmp_path, points, dies_at=0)).step == state.step
    assert weights(again) == weights(first)
    assert len(points) == count


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    train(student(), training(tmp_path, []))
    with pytest.raises(Conflict, match="belongs to a training"):
        train(student(), training(tmp_path, [], fingerprint="g"))


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    train(student(), training(tmp_path, []))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "step-00000015.safetensors",
        "step-00000020.safetensors",
    ]


def test_patience_stops_and_brings_the_best_back(tmp_path: Path) -> None:
    budget = Budget(steps=400, tokens_per_step=300, checkpoint_steps=10, learning_rate=0.01, patience=2)
    points: list[CurvePoint] = []
    learner = student()

    class Spoilt(Labels):
        """Right answers at first, then wrong ones."""

        def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
            batches = super().step(step, student)
            if step < 40:
                return batches
            return [
                (Batch(b.ids_BT, b.at_N, torch.full_like(b.labels_N, 3), b.rows_N, b.tokens), s) for b, s in batches
            ]

    made = training(tmp_path, points, budget=budget)
    spoilt = Training(**{**made.__dict__, "lessons": Spoilt(lessons(), 300, seed=7)})
    state = train(learner, spoilt)
    losses = [point.eval_loss for point in points if point.eval_loss is not None]
    assert state.step == 60
    assert min(losses) == losses[3] == state.best_dev_loss
    assert dev_loss(learner, made.dev) == pytest.approx(losses[3])


def test_gradients_do_not_depend_on_how_a_step_is_divided() -> None:
    data = lessons().select(range(12))
    gradients = []
    for parts in ([range(12)], [range(5), range(5, 12)]):
        learner = student()
        loop = _Loop(learner, training(Path("/nonexistent"), []))
        loop._accumulate([(collate(data, part), None) for part in parts])
        gradients.append([parameter.grad for parameter in learner.model.parameters()])
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_the_rate_rises_and_falls() -> None:
    budget = Budget(steps=100, learning_rate=1.0, warmup_fraction=0.1)
    rates = [learning_rate(budget, step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(rates) == rates[10] == 1.0
    assert all(earlier >= later for earlier, later in itertools.pairwise(rates[10:]))
    assert rates[-1] == pytest.approx(0.1, abs=0.01)


def test_the_same_seed_makes_the_same_student_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    one, two, other = student(3), student(3), student(4)
    assert torch.rand(1) == before
    assert weights(one) == weights(two) != weights(other)


def test_a_saved_student_is_a_transformers_folder(tmp_path: Path) -> None:
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "tokenizer.json").write_text("{}")
    made = student()
    made.save(tmp_path / "student", tokenizer)
    assert (tmp_path / "student" / "tokenizer.json").read_text() == "{}"
    assert made.model.dtype == torch.float32
    loaded = load_student(tmp_path / "student")
    for ours, theirs in zip(made.model.parameters(), loaded.model.parameters(), strict=True):
        torch.testing.assert_close(theirs, ours, rtol=8e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ("{", InvalidInput, "not JSON"),
        ("[]", InvalidInput, "JSON object"),
        ('{"hidden_size": 8}', InvalidInput, "no model_type None"),
        ('{"model_type": "no-such"}', InvalidInput, "knows no model_type"),
        ('{"model_type": "llama", "vocab_size": 99}', InvalidInput, "the vocabulary here is 24"),
        (
            '{"model_type": "gemma2", "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 16,'
            '"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "final_logit_softcapping": 0.01,'
            '"pad_token_id": 0, "bos_token_id": 0}',
            Unsupported,
            "more than a matrix product",
        ),
    ],
)
def test_a_config_that_cannot_be_a_student_is_refused(config: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        build_student(ConfigShape(config_json=config), V, END, 64, 0)


def test_state_survives_its_checkpoint(tmp_path: Path) -> None:
    state = train(student(), training(tmp_path, []))
    assert Checkpoints(tmp_path).last_state() == state
