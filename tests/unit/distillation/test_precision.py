"""Students that compute in bfloat16 learn what those in float32 do, and lose nothing that must be kept exactly."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tests.tiny_checkpoints import EOS
from tests.unit.distillation.test_ranks import OLMO
from tests.unit.distillation.test_sampler import prompt_of, student_of
from tests.unit.distillation.test_training import (
    BUDGET,
    END,
    Died,
    DyingLabels,
    FollowedStates,
    V,
    lessons,
    student,
    training,
    weights,
)

from seodang.distillation import CurvePoint
from seodang.distillation.loss import HiddenSignal, Objective, Signal, distillation_loss
from seodang.distillation.spec import AdapterShape, Budget, ConfigShape
from seodang.distillation.training import Batch, Student, build_adapted, build_student, collate, train
from seodang.distillation.training.engine import _Loop
from seodang.distillation.training.matching import StateMatching
from seodang.distillation.training.place import Narrow
from seodang.distillation.training.sampler import sample

NARROW = msgspec.structs.replace(BUDGET, dtype="bfloat16")


def learner_of(kind: str, folder: Path) -> Student:
    match kind:
        case "adapters":
            student().model.save_pretrained(folder / "base")
            return build_adapted(AdapterShape(base=str(folder / "base"), alpha=16.0), END, seed=0)
        case "another family":
            return build_student(ConfigShape(config_json=OLMO), V, END, 64, seed=0)
        case _:
            return student()


def curve_of(kind: str, folder: Path, budget: Budget) -> list[CurvePoint]:
    points: list[CurvePoint] = []
    given = training(folder / budget.dtype, points, budget=budget)
    if kind == "states":
        given = dataclasses.replace(given, lessons=FollowedStates(-1), matching=StateMatching(16, 20, seed=3))
    train(learner_of(kind, folder), given)
    return points


@pytest.mark.parametrize("kind", ["own family", "adapters", "another family", "states"])
def test_the_curve_is_that_of_float32_within_two_percent(tmp_path: Path, kind: str) -> None:
    exact = curve_of(kind, tmp_path, BUDGET)
    narrow = curve_of(kind, tmp_path, NARROW)
    assert [point.step for point in narrow] == [point.step for point in exact]
    for name in ("loss", "eval_loss"):
        ours, theirs = ([each for point in points if (each := getattr(point, name))] for points in (narrow, exact))
        assert ours == pytest.approx(theirs, rel=0.02)
        assert ours != theirs


@pytest.mark.parametrize("kind", ["own family", "adapters"])
def test_a_narrow_training_that_died_goes_on_bit_by_bit_the_same(tmp_path: Path, kind: str) -> None:
    calm, broken, resumed = (learner_of(kind, tmp_path) for _ in range(3))
    calm_points: list[CurvePoint] = []
    train(calm, training(tmp_path / "calm", calm_points, budget=NARROW))
    points: list[CurvePoint] = []
    with pytest.raises(Died):
        train(broken, training(tmp_path / "broken", points, dies_at=13, budget=NARROW))
    train(resumed, training(tmp_path / "broken", points, budget=NARROW))
    assert weights(resumed) == weights(calm)
    losses = {point.step: (point.loss, point.eval_loss) for point in points}
    assert losses == {point.step: (point.loss, point.eval_loss) for point in calm_points}


def test_parameters_gradients_moments_and_checkpoints_stay_float32(tmp_path: Path) -> None:
    learner = student()
    train(learner, training(tmp_path, [], budget=NARROW))
    kept = load_file(tmp_path / "step-00000020.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float32}
    table = [each for name, each in kept.items() if "embed_tokens" in name and each.ndim == 2]
    assert len(table) == 3
    assert all((each != each.bfloat16().float()).any() for each in table)
    loop = _Loop(learner, training(tmp_path / "anew", [], budget=NARROW))
    loop._accumulate([(collate(lessons(), range(5)), None), (collate(lessons(), range(5, 12)), None)])
    assert {parameter.grad.dtype for _, parameter in loop.named if parameter.grad is not None} == {torch.float32}


def test_the_student_computes_in_bfloat16_while_it_trains(tmp_path: Path) -> None:
    seen: list[torch.dtype] = []
    learner = student()
    block = learner.model.base_model.layers[0]
    block.register_forward_hook(lambda module, given, made: seen.append(made.dtype))

    class Asking(DyingLabels):
        """Looks at what an answer would be computed with."""

        def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
            with student.place.whole() as tensors:
                seen.extend(each.dtype for each in tensors.values())
            return super().step(step, student)

    train(learner, dataclasses.replace(training(tmp_path, [], budget=NARROW), lessons=Asking(-1)))
    assert set(seen) == {torch.bfloat16}


@pytest.mark.parametrize("family", ["llama", "axk1"])
def test_what_it_says_is_computed_in_bfloat16(family: str) -> None:
    exact, narrow, copied = (student_of(family) for _ in range(3))
    narrow.place = Narrow(narrow.model, None, torch.bfloat16)
    with copied.place.whole() as tensors:
        copied.model.load_state_dict({name: each.bfloat16().float() for name, each in tensors.items()})
    copied.model.to(torch.bfloat16)
    prompts = [prompt_of(length) for length in range(3, 40)]
    said = [sample(each, prompts, end_id=EOS, max_new_tokens=20) for each in (exact, narrow, copied)]
    assert said[1] == said[2] != said[0]


def of_many_positions(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden_NH = torch.randn(2000, 16, generator=generator).bfloat16().to(dtype).requires_grad_()
    head_VH = torch.randn(50, 16, generator=generator).bfloat16().to(dtype).requires_grad_()
    return hidden_NH, head_VH, torch.randint(0, 50, (2000,), generator=generator)


def gradients_of(dtype: torch.dtype, signal: bool, chunk: int) -> Sequence[torch.Tensor]:
    hidden_NH, head_VH, labels_N = of_many_positions(dtype)
    teacher = HiddenSignal(torch.randn(2000, 8, generator=torch.Generator().manual_seed(1)), torch.eye(50, 8))
    objective = Objective() if signal else Objective(cross_entropy_weight=1.0)
    loss = distillation_loss(hidden_NH, head_VH, labels_N, teacher if signal else None, objective, chunk=chunk).loss
    assert loss.dtype == torch.promote_types(dtype, torch.float32)
    loss.backward()
    assert hidden_NH.grad is not None
    assert head_VH.grad is not None
    assert hidden_NH.grad.dtype == head_VH.grad.dtype == dtype
    return loss.detach().double(), hidden_NH.grad.double(), head_VH.grad.double()


@pytest.mark.parametrize("signal", [True, False])
def test_sums_of_a_narrow_loss_do_not_lose_what_many_chunks_add(signal: bool) -> None:
    """Of 500 chunks, sums in bfloat16 would be off by several percent."""
    exact = gradients_of(torch.float64, signal, 2000)
    narrow = gradients_of(torch.bfloat16, signal, 4)
    errors = [float((ours - theirs).norm() / theirs.norm()) for ours, theirs in zip(narrow, exact, strict=True)]
    assert errors[0] < 1e-3
    assert max(errors) < 0.01


def test_the_logarithm_of_the_partition_is_not_rounded() -> None:
    """Of equal logits it is log V, which bfloat16 has to two digits only."""
    hidden_NH, head_VH = torch.zeros(8, 16, dtype=torch.bfloat16), torch.zeros(1000, 16, dtype=torch.bfloat16)
    loss = distillation_loss(
        hidden_NH, head_VH, torch.zeros(8, dtype=torch.int64), None, Objective(cross_entropy_weight=1.0)
    ).loss
    assert float(loss) == pytest.approx(np.log(1000), rel=1e-6)
