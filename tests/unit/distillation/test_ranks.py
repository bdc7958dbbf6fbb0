"""Two ranks train as one does, and a group that lost a rank goes on bit by bit the same."""

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Literal
from unittest import mock

import msgspec
import pytest
import torch
from tests.unit.distillation.test_training import (
    BUDGET,
    END,
    DyingLabels,
    FollowedStates,
    V,
    lessons,
    student,
    training,
)
from torch import Tensor
from torch._C._distributed_c10d import TCPStore

from seodang.distillation import CurvePoint
from seodang.distillation.group import ALONE, Group, RankLost
from seodang.distillation.loss import Signal
from seodang.distillation.recipes.labels import Labels
from seodang.distillation.spec import AdapterShape, Budget, ConfigShape, Dtype, Optimizer
from seodang.distillation.training import (
    Batch,
    Student,
    build_adapted,
    build_student,
    checkpoints_of,
    train,
    whole_weights,
)
from seodang.distillation.training.engine import dev_loss
from seodang.distillation.training.matching import StateMatching
from seodang.distillation.training.place import Narrow
from seodang.distillation.training.sampler import sample
from seodang.distillation.training.sharding import Sharded

CPU = torch.device("cpu")
# Its process imports what a rank needs once, and forks a rank before anything has computed.
PROCESSES = multiprocessing.get_context("forkserver")
MODELS = [f"transformers.models.{name}.modeling_{name}" for name in ("lfm2", "llama", "olmo2")]
PROCESSES.set_forkserver_preload(["tests.unit.distillation.test_ranks", *MODELS])
pytestmark = pytest.mark.timeout(300)
LOST = 7

LLAMA = json.dumps(
    {
        "model_type": "llama",
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        "bos_token_id": None,
    }
)

OLMO = json.dumps({**json.loads(LLAMA), "model_type": "olmo2", "pad_token_id": None})
"""Of a family that the runtime has no decoder for."""

Model = Literal["own family", "untied head", "adapters", "another family"]
Lesson = Literal["labels", "one batch a step", "states", "none, it is only asked"]


@dataclasses.dataclass(frozen=True)
class Case:
    """A training that both one process and two do."""

    folder: Path
    budget: Budget = BUDGET
    lesson: Lesson = "labels"
    model: Model = "own family"
    dies_at: int = -1
    """The step before which rank 1 is killed."""


class Shared(DyingLabels):
    """Labels in batches for two; who is killed has reached the step that it is asked for."""

    def __init__(self, case: Case, group: Group) -> None:
        Labels.__init__(self, lessons(), case.budget.tokens_per_step, 7, 1 if case.lesson == "one batch a step" else 2)
        self._dies_at = -1
        self._killed_at = case.dies_at if group.rank == 1 else -1

    def step(self, step: int, student: Student) -> Sequence[tuple[Batch, Signal | None]]:
        if step == self._killed_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().step(step, student)


class SharedStates(Shared, FollowedStates):
    """Hidden states in batches for two."""

    objective = FollowedStates.objective


def learner_of(case: Case, seed: int) -> Student:
    match case.model:
        case "own family":
            return student(seed)
        case "untied head":
            return build_student(ConfigShape(config_json=LLAMA), V, END, 64, seed)
        case "another family":
            return build_student(ConfigShape(config_json=OLMO), V, END, 64, seed)
        case "adapters":
            return build_adapted(AdapterShape(base=str(case.folder.parent / "base"), alpha=16.0), END, seed)


def taught(case: Case, group: Group = ALONE) -> tuple[list[CurvePoint], dict[str, Tensor]]:
    """The curve and the whole weights. All ranks but the first begin with other weights, which must not matter."""
    points: list[CurvePoint] = []
    learner = learner_of(case, group.rank)
    states = case.lesson == "states"
    given = dataclasses.replace(
        training(case.folder, points, budget=case.budget),
        lessons=(SharedStates if states else Shared)(case, group),
        matching=StateMatching(16, 20, seed=3 + group.rank) if states else None,
        checkpoints=checkpoints_of(case.folder, group.size, group),
        group=group,
    )
    with group.joined(CPU):
        train(learner, given)
        return points, whole_weights(learner.model)


def spoken(case: Case, group: Group = ALONE) -> list[list[int]]:
    """Answers to every Nth of seven prompts, by a student whose adapters, if it has any, say something."""
    learner = learner_of(case, seed=0)
    with torch.no_grad():
        for name, parameter in learner.model.named_parameters():
            if name.endswith("up_OR"):
                parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    mine = range(group.rank, 7, group.size)
    with group.joined(CPU):
        dtype = getattr(torch, case.budget.dtype)
        learner.place = Sharded(learner, None, group, dtype) if group.size > 1 else Narrow(learner.model, None, dtype)
        prompts = [[2 + number] * (1 + number) for number in mine]
        return sample(learner, prompts, end_id=END, max_new_tokens=12, temperature=1.0, seed=5, numbers=mine)


def be_a_rank(rank: int, port: int, case: Case, result: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "RANK": str(rank),
        "WORLD_SIZE": "2",
    }
    group = Group.of_environment()
    assert group is not None
    try:
        made = spoken(case, group) if case.lesson == "none, it is only asked" else taught(case, group)
    except RankLost:
        os._exit(LOST)
    torch.save(made, result.with_suffix(f".{rank}.pt"))


def on_two_ranks(case: Case) -> tuple[list[int | None], Path]:
    """The exit codes of both, and where what they made lies, but for the rank before the suffix."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    result = case.folder.with_suffix(".pt")
    ranks = [PROCESSES.Process(target=be_a_rank, args=(rank, store.port, case, result)) for rank in range(2)]
    # A console page that another test ran may stand for the main program, which every new process would run again.
    with mock.patch.dict(sys.modules, {"__main__": ModuleType("__main__")}):
        for process in ranks:
            process.start()
    for process in ranks:
        process.join(timeout=200)
    return [process.exitcode for process in ranks], result


def taught_by_two(case: Case) -> tuple[list[CurvePoint], dict[str, Tensor]]:
    codes, result = on_two_ranks(case)
    assert codes == [0, 0]
    points, weights = torch.load(result.with_suffix(".0.pt"), weights_only=False)
    return points, weights


def losses(points: list[CurvePoint]) -> tuple[dict[int, float], dict[int, float]]:
    return (
        {point.step: point.loss for point in points},
        {point.step: point.eval_loss for point in points if point.eval_loss is not None},
    )


@pytest.mark.parametrize(
    ("optimizer", "lesson", "model", "dtype"),
    [
        ("adamw", "labels", "own family", "float32"),
        ("muon", "labels", "own family", "float32"),
        ("adamw", "one batch a step", "untied head", "float32"),
        ("adamw", "states", "own family", "float32"),
        ("adamw", "labels", "adapters", "float32"),
        ("adamw", "one batch a step", "untied head", "bfloat16"),
        ("adamw", "states", "own family", "bfloat16"),
        ("adamw", "labels", "adapters", "bfloat16"),
    ],
)
def test_two_ranks_give_the_curve_of_one(
    tmp_path: Path, optimizer: Optimizer, lesson: Lesson, model: Model, dtype: Dtype
) -> None:
    student().model.save_pretrained(tmp_path / "base")
    budget = msgspec.structs.replace(BUDGET, optimizer=optimizer, dtype=dtype)
    points, weights = taught(Case(tmp_path / "one", budget, lesson, model))
    shared_points, shared_weights = taught_by_two(Case(tmp_path / "two", budget, lesson, model))
    for ours, theirs in zip(losses(shared_points), losses(points), strict=True):
        assert ours == pytest.approx(theirs, rel=2e-4 if dtype == "float32" else 2e-3)
    for name, weight in weights.items():
        torch.testing.assert_close(shared_weights[name], weight, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize(
    ("model", "dtype"),
    [("own family", "float32"), ("adapters", "float32"), ("another family", "float32"), ("adapters", "bfloat16")],
)
def test_a_student_on_two_ranks_says_what_it_would_say_on_one(tmp_path: Path, model: Model, dtype: Dtype) -> None:
    """The last round has a prompt for one of them only."""
    student().model.save_pretrained(tmp_path / "base")
    budget = msgspec.structs.replace(BUDGET, dtype=dtype)
    case = Case(tmp_path / "both", budget, lesson="none, it is only asked", model=model)
    codes, result = on_two_ranks(case)
    assert codes == [0, 0]
    answers = [torch.load(result.with_suffix(f".{rank}.pt")) for rank in range(2)]
    together = [answers[number % 2][number // 2] for number in range(7)]
    assert together == spoken(case)
    assert len({tuple(answer) for answer in together}) > 4


@pytest.mark.parametrize(
    ("optimizer", "dtype", "dies_at"), [("adamw", "float32", 13), ("muon", "float32", 8), ("adamw", "bfloat16", 13)]
)
def test_a_group_that_lost_a_rank_goes_on_bit_by_bit_the_same(
    tmp_path: Path, optimizer: Optimizer, dtype: Dtype, dies_at: int
) -> None:
    budget = msgspec.structs.replace(BUDGET, optimizer=optimizer, dtype=dtype)
    calm_points, calm = taught_by_two(Case(tmp_path / "calm", budget))
    broken = Case(tmp_path / "broken", budget, dies_at=dies_at)
    assert on_two_ranks(broken)[0] == [LOST, -signal.SIGKILL]
    points, weights = taught_by_two(dataclasses.replace(broken, dies_at=-1))
    assert all(torch.equal(weights[name], calm[name]) for name in calm)
    for ours, theirs in zip(losses(points), losses(calm_points), strict=True):
        assert ours.items() <= theirs.items()


def test_two_ranks_stop_by_patience_and_bring_the_best_back(tmp_path: Path) -> None:
    budget = Budget(steps=60, tokens_per_step=120, checkpoint_steps=3, learning_rate=0.3, patience=1)
    points, weights = taught_by_two(Case(tmp_path, budget))
    dev = losses(points)[1]
    best = min(dev, key=dev.__getitem__)
    assert list(dev) == [*range(3, best + 4, 3)]
    assert [path.name for path in tmp_path.glob("best-*")] == [f"best-{best:08d}"]
    learner = student()
    learner.model.load_state_dict(weights, strict=False)
    assert dev_loss(learner, lessons().select(range(10))) == pytest.approx(dev[best])


def test_work_is_shared_in_equal_rounds() -> None:
    shares = [Group(rank, 3).share("abcde") for rank in range(3)]
    assert shares == [[("a", 1.0), ("d", 1.0)], [("b", 1.0), ("e", 1.0)], [("c", 1.0), ("a", 0.0)]]
    assert ALONE.share("ab") == [("a", 1.0), ("b", 1.0)]
    assert [Group(rank, 3).takes(5) for rank in range(3)] == [{0, 3}, {1, 4}, {2, 0}]
    assert [Group(2, 3).owns(number) for number in range(6)] == [False, False, True, False, False, True]
