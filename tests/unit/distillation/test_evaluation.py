from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from seodang.base.errors import InternalFault
from seodang.distillation.answers import AnswerFile
from seodang.distillation.catalogue import Task
from seodang.distillation.data import Encoded
from seodang.distillation.evaluation import (
    Examination,
    NoiseFloor,
    calibration_error,
    examine,
    fidelity,
    fidelity_of_teacher,
    top1_of,
    wilson_interval,
)
from seodang.distillation.evaluation.both_ways import self_divergence
from seodang.distillation.gate import judge
from seodang.distillation.recipes.candidates import choose, choose_candidates
from seodang.distillation.result import Measurement
from seodang.distillation.spec import DenseShape, Gate, SampledTarget
from seodang.distillation.targets import Shard, ShardSignals
from seodang.distillation.training import build_student, micro_batches
from seodang.distillation.training.engine import trained_hidden
from seodang.distillation.training.sampler import sample
from seodang.runtime.kernels.choice import choose_kernels
from seodang.runtime.kernels.interface import Kernels
from seodang.runtime.kernels.torch_kernels import TorchKernels
from seodang.runtime.sharding import Ranks
from seodang.tasks import Example, Message, Role

V, END = 40, 1


def tiny(seed: int = 0):  # type: ignore[no-untyped-def]
    student = build_student(
        DenseShape(hidden_size=16, layers=2, heads=2, kv_heads=1, intermediate_size=32), V, END, 64, seed
    )
    # Wide enough that greedy choices have clear margins.
    with torch.no_grad():
        for parameter in student.model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.5)
    student.model.eval()
    return student


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [(0.5, 10, 0.2366, 0.7634), (0.0, 20, 0.0, 0.1611), (1.0, 20, 0.8389, 1.0), (0.9, 200, 0.8506, 0.9343)],
)
def test_wilson_intervals_are_those_of_the_tables(share: float, count: int, low: float, high: float) -> None:
    assert wilson_interval(share, count) == pytest.approx((low, high), abs=5e-4)


def measurement(subject: str, score: float, parameters: int = 100, kl: float | None = 0.2) -> Measurement:
    return Measurement(
        subject=subject,
        parameters=parameters,
        task_score=score,
        task_score_low=0,
        task_score_high=1,
        metric="m",
        examples=10,
        cross_entropy=1.0,
        forward_kl=None if subject == "teacher" else kl,
    )


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        (Gate(), {}),
        (Gate(max_points_below_teacher=5), {"points below teacher": True}),
        (Gate(max_points_below_teacher=3), {"points below teacher": False}),
        (Gate(beat_baselines=True), {"task score above a": True, "task score above b": False}),
        (Gate(min_task_score=0.86), {"task score": True}),
        (Gate(min_task_score=0.87), {"task score": False}),
        (Gate(max_parameter_share=0.125), {"parameters to teacher's": True}),
        (Gate(max_forward_kl=0.1, max_parameter_share=0.1), {"parameters to teacher's": False, "forward KL": False}),
    ],
)
def test_the_gate_checks_what_is_set(gate: Gate, passed: dict[str, bool]) -> None:
    measured = (
        measurement("teacher", 0.90, parameters=800),
        measurement("student", 0.86),
        measurement("a", 0.85),
        measurement("b", 0.86),
    )
    verdict = judge(gate, measured)
    assert {check.name: check.passed for check in verdict.checks} == passed
    assert verdict.passed == all(passed.values())


def test_greedy_answers_do_not_depend_on_company() -> None:
    student = tiny()
    rng = np.random.default_rng(0)
    prompts = [rng.integers(2, V, length).tolist() for length in (3, 9, 5, 1, 14)]
    ended: list[int] = []
    together = sample(student, prompts, end_id=END, max_new_tokens=8, on_answers=ended.append)
    assert sum(ended) == len(prompts)
    alone = [sample(student, [prompt], end_id=END, max_new_tokens=8)[0] for prompt in prompts]
    assert together == alone
    for prompt, answer in zip(prompts, together, strict=True):
        ids = list(prompt)
        for token in answer:
            assert int(student.model(torch.tensor([ids])).logits[0, -1].argmax()) == token
            ids.append(token)
        assert answer[-1] == END or len(answer) == 8


def test_sampled_answers_depend_on_the_seed_alone() -> None:
    student = tiny()
    prompts = [[3, 4], [5, 6, 7]]
    one, two, other = (
        sample(student, prompts, end_id=END, max_new_tokens=12, temperature=1.0, seed=seed) for seed in (1, 1, 2)
    )
    assert one == two != other


def test_an_examination_is_judged_by_its_task_and_asked_once(tmp_path: Path) -> None:
    examples = [Example((Message(Role.USER, str(n)),), str(n % 3), "s", "g", "en") for n in range(120)]
    asked: list[str] = []

    class Parrot:
        subject, parameters = "parrot", 1

        def answers(self, prompts: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterable[str]:
            for prompt in prompts:
                asked.append(prompt[0].content)
                if len(asked) == 70:
                    raise KeyboardInterrupt
                yield "0"

    examination = Examination(Task.EXACT, examples, 0, 5, "questions")
    with pytest.raises(KeyboardInterrupt):
        examine(Parrot(), examination, tmp_path / "a.jsonl", "weights", lambda count: None)
    counted: list[int] = []
    scores = examine(Parrot(), examination, tmp_path / "a.jsonl", "weights", counted.append)
    assert sum(scores) == 40
    assert counted[0] == 50
    assert asked[70:] == [str(n) for n in range(50, 120)]


def test_a_robot_may_say_an_action_in_as_many_tokens_as_its_tokenizer_needs(tmp_path: Path) -> None:
    example = Example((Message(Role.USER, "scene"),), "forward", "s", "g", "en")
    asked: set[int] = set()

    class Robot:
        subject, parameters = "robot", 1

        def answers(self, prompts: Sequence[Sequence[Message]], max_new_tokens: int) -> Iterable[str]:
            asked.add(max_new_tokens)
            return ["done"] * len(prompts)

    examination = Examination(Task.MISSION, [example], 1, 20, "questions", action_tokens=9)
    examine(Robot(), examination, tmp_path / "a.jsonl", "weights", lambda count: None)
    assert asked == {9}


def test_answers_of_something_else_are_not_used(tmp_path: Path) -> None:
    for claim, expected in (("a", "a"), ("b", "b"), ("b", "b")):
        made = AnswerFile(tmp_path / "f", claim).complete(3, lambda numbers, claim=claim: [claim for _ in numbers])
        assert made == [expected] * 3


@pytest.mark.parametrize("cut", range(1, 8))
def test_a_torn_group_of_answers_is_made_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "f"
    AnswerFile(path, "a", group=2).complete(4, lambda numbers: [str(n) for n in numbers])
    path.write_bytes(path.read_bytes()[:-cut])
    asked: list[int] = []

    def answer(numbers: Sequence[int]) -> list[str]:
        asked.extend(numbers)
        return [str(n) for n in numbers]

    assert AnswerFile(path, "a", group=2).complete(4, answer) == ["0", "1", "2", "3"]
    assert asked == [2, 3]


def held_out() -> Encoded:
    rng = np.random.default_rng(3)
    return Encoded.of([(rng.integers(2, V, int(length)).tolist(), 2) for length in rng.integers(4, 12, 15)])


def test_fidelity_is_what_whole_distributions_say() -> None:
    student, teacher, data = tiny(0), tiny(9), held_out()
    log_p, log_q = [], []
    with torch.no_grad():
        for index in range(len(data)):
            ids = torch.from_numpy(data.ids(index).astype(np.int64))[None]
            for model, rows in ((teacher, log_p), (student, log_q)):
                rows.append(model.model(ids).logits[0, 1:-1].log_softmax(-1))
    p, q = torch.cat(log_p), torch.cat(log_q)
    labels = torch.from_numpy(data.labels.astype(np.int64))
    everything = np.tile(np.arange(V, dtype=np.int32), len(p))
    shard = Shard(
        positions=data.positions,
        next_log_probs=p.gather(1, labels[:, None])[:, 0].numpy(),
        entropy=-(p.exp() * p).sum(1).numpy(),
        counts=np.full(len(p), V, np.uint16),
        ids=everything,
        log_probs=p.numpy().reshape(-1),
        draws=np.zeros(p.numel(), np.uint16),
        outside=np.zeros(len(p), np.float32),
    )
    top1 = top1_of(shard)
    assert top1.tolist() == p.argmax(1).tolist()
    close = fidelity(student, data, ShardSignals(shard, SampledTarget(head=V, tail_draws=1)), top1)
    assert close.forward_kl == pytest.approx(float((p.exp() * (p - q)).sum(1).mean()), rel=1e-4)
    assert close.top1_agreement == pytest.approx(float((p.argmax(1) == q.argmax(1)).float().mean()))
    assert close.cross_entropy == pytest.approx(float(-q.gather(1, labels[:, None]).mean()), rel=1e-4)
    assert close.draft_acceptance == pytest.approx(float(torch.minimum(p.exp(), q.exp()).sum(1).mean()), rel=1e-4)
    shared = [
        len(set(one) & set(two)) / 8 for one, two in zip(p.topk(8)[1].tolist(), q.topk(8)[1].tolist(), strict=True)
    ]
    assert close.top8_overlap == pytest.approx(np.mean(shared))
    assert calibration_error(close.reliability) == pytest.approx(calibration_of(q, labels), abs=1e-6)
    teacher_itself = fidelity_of_teacher(data, shard)
    assert calibration_error(teacher_itself.reliability) == pytest.approx(calibration_of(p, labels), abs=1e-6)
    assert teacher_itself.cross_entropy == pytest.approx(float(-p.gather(1, labels[:, None]).mean()), rel=1e-4)


def test_the_floor_from_entries_is_the_kl_of_whole_distributions() -> None:
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (50, 300))
    log_p, log_again = (_log_softmax(each) for each in (logits, logits + rng.normal(0, 1e-4, logits.shape)))
    exact = float((np.exp(log_p) * (log_p - log_again)).sum(1).mean())
    assert self_divergence(np.exp(log_p), log_p, log_again).kl == pytest.approx(exact, rel=1e-4)
    estimates = []
    for _ in range(200):
        drawn = np.stack([rng.choice(300, 16, p=row / row.sum()) for row in np.exp(log_p)])
        one, two = (np.take_along_axis(each, drawn, 1) for each in (log_p, log_again))
        padded = [np.pad(each, ((0, 0), (0, 3))) for each in (np.full(drawn.shape, 1 / 16), one, two)]
        estimates.append(self_divergence(*padded).kl)
    assert abs(np.mean(estimates) - exact) < 4 * np.std(estimates) / len(estimates) ** 0.5
    assert min(estimates) > 0.5 * exact


def test_a_floor_of_nothing_is_nothing() -> None:
    log_p = _log_softmax(np.random.default_rng(3).normal(0, 2, (5, 30)))
    assert self_divergence(np.exp(log_p), log_p, log_p) == NoiseFloor(0.0, 1.0)


def _log_softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    whole: npt.NDArray[np.float64] = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return whole


def calibration_of(log_probs: torch.Tensor, labels: torch.Tensor) -> float:
    """Bin by bin, as the paper has it."""
    confidence, choice = log_probs.exp().max(1)
    error = 0.0
    for low in range(15):
        inside = (confidence > low / 15) & (confidence <= (low + 1) / 15)
        if inside.any():
            gap = (choice == labels)[inside].float().mean() - confidence[inside].mean()
            error += float(inside.float().mean() * gap.abs())
    return error


def test_the_acceptance_of_a_sampled_signal_is_right_on_average() -> None:
    student, teacher, data = tiny(0), tiny(9), held_out()
    ids = torch.from_numpy(data.ids(0).astype(np.int64))[None]
    one = data.select([0])
    with torch.no_grad():
        p, q = (model.model(ids).logits[0, 1:-1].log_softmax(-1) for model in (teacher, student))
    exact = float(torch.minimum(p.exp(), q.exp()).sum(1).mean())
    rng = np.random.default_rng(5)
    estimates = []
    for _ in range(300):
        drawn = np.stack([rng.choice(V, 4, p=row / row.sum()) for row in p.exp().double().numpy()]).astype(np.int32)
        shard = Shard(
            positions=one.positions,
            next_log_probs=np.zeros(len(p), np.float32),
            entropy=np.zeros(len(p), np.float32),
            counts=np.full(len(p), 4, np.uint16),
            ids=drawn.reshape(-1),
            log_probs=np.take_along_axis(p.numpy(), drawn, 1).reshape(-1),
            draws=np.ones(drawn.size, np.uint16),
            outside=np.ones(len(p), np.float32),
        )
        signals = ShardSignals(shard, SampledTarget(head=0, tail_draws=4))
        estimates.append(fidelity(student, one, signals, np.zeros(len(p), np.int32)).draft_acceptance)
    spread = np.std(estimates) / len(estimates) ** 0.5
    assert abs(np.mean(estimates) - exact) < 4 * spread
    assert spread < 0.02


def test_candidates_stand_for_the_whole_distribution() -> None:
    student, data = tiny(), held_out()
    batches = micro_batches(data, np.arange(len(data)), tokens=60)
    chosen = choose_candidates(student, batches, 8, 1.3, (0, 1))
    again = choose_candidates(student, batches, 8, 1.3, (0, 1))
    assert (chosen.ids_PK == again.ids_PK).all()
    for batch in batches:
        with torch.no_grad():
            q = (trained_hidden(student, batch) @ student.head_VH.T / 1.3).softmax(-1).numpy()
        ids, weights = chosen.ids_PK[batch.rows_N], chosen.weights_PK[batch.rows_N]
        assert all(len(set(row)) == 8 for row in ids.tolist())
        # Each weighted draw brings an equal share of the tail's mass, so that all together weigh one.
        np.testing.assert_allclose((np.take_along_axis(q, ids, 1) * weights).sum(1), 1.0, rtol=1e-4)
    assert float(chosen.weights_PK.min()) > 0.999


@pytest.mark.parametrize("kernels", [choose_kernels(Ranks.alone(), torch.float32), TorchKernels(torch.float32)])
@pytest.mark.parametrize("sharpness", [0.1, 2.0, 6.0, 40.0])
def test_the_weights_of_candidates_are_one_over_their_chances(sharpness: float, kernels: Kernels) -> None:
    """Over all starts, every token is chosen as often as it should be: certainly, or its mass over a draw's share."""
    logits_V = sharpness * torch.randn(50, generator=torch.Generator().manual_seed(3))
    mass_V = logits_V.double().softmax(-1)
    starts = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    ids, weights = choose(kernels, logits_V.expand(len(starts), -1), 8, starts)
    inverse = torch.zeros(50, dtype=torch.float64).index_add_(0, ids.flatten(), weights.flatten()) / len(starts)
    assert torch.allclose(inverse, torch.ones_like(inverse), atol=2e-2) or sharpness > 1
    reached = mass_V * 8 * len(starts) > 50  # others are too rare to be met in so many starts
    assert torch.allclose(inverse[reached], torch.ones_like(inverse[reached]), atol=2e-2)


@pytest.mark.parametrize("kernels", [choose_kernels(Ranks.alone(), torch.float32), TorchKernels(torch.float32)])
def test_a_tail_smaller_than_rounding_is_drawn_from_and_one_without_mass_is_exact(kernels: Kernels) -> None:
    logits_CV = torch.full((2, 30), -40.0)
    logits_CV[:, 7] = 10.0
    logits_CV[1] -= 1e3
    logits_CV[1, 7] = 10.0
    ids, weights = choose(kernels, logits_CV, 4, torch.tensor([0.5, 0.5], dtype=torch.float64))
    mass_CV = logits_CV.double().softmax(-1)
    assert (ids[:, 0] == 7).all()
    assert all(len(set(row)) == 4 for row in ids.tolist())
    assert weights[0].max() > 1
    assert (weights[1] == 1).all()
    tail_C = (mass_CV.gather(1, ids) * weights)[:, 1:].sum(1)
    np.testing.assert_allclose(tail_C, mass_CV[:, :7].sum(1) + mass_CV[:, 8:].sum(1), rtol=1e-4)


def test_logits_that_are_no_numbers_choose_nothing() -> None:
    logits_CV = torch.zeros(1, 30)
    logits_CV[0, 3] = torch.nan
    with pytest.raises(InternalFault, match="lower learning_rate"):
        choose(choose_kernels(Ranks.alone(), torch.float32), logits_CV, 4, torch.tensor([0.5], dtype=torch.float64))


def test_there_are_no_more_candidates_than_tokens() -> None:
    student, data = tiny(), held_out()
    batches = micro_batches(data, np.arange(len(data)))
    chosen = choose_candidates(student, batches, V + 9, 1.0, (0, 1))
    assert [sorted(row) for row in chosen.ids_PK.tolist()] == [list(range(V))] * len(chosen.ids_PK)
    np.testing.assert_allclose(chosen.weights_PK, 1.0, rtol=1e-4)
