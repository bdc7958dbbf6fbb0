"""Jobs whose students train on two ranks: the curve of one process, and nothing lost when a rank is killed; the teacher
is asked for each position by one rank only.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests import tiny_tokenizers
from tests.integration.distillation.jobs import job, write_data
from tests.integration.distillation.test_kill import Due, curve, finish, scored, start, steps_of
from tests.serving import wait_for

from seodang.distillation import EXIT_FAULT, JobFolder, read_fault, read_result
from seodang.distillation.folder import folder_sha256
from seodang.distillation.spec import Baseline, Budget, HiddenTarget, Recipe, SampledTarget, Teacher, TopKTarget
from seodang.distillation.targets import read_ledger

BUDGET = Budget(steps=24, tokens_per_step=1500, checkpoint_steps=5, ranks=2)


def ranks_of(launcher: int) -> list[int]:
    """The processes of a job's ranks, in order."""
    children = Path(f"/proc/{launcher}/task/{launcher}/children").read_text()
    return sorted(int(child) for child in children.split())


def started_until(folder: JobFolder, due: Due) -> tuple[subprocess.Popen[bytes], list[int]]:
    """The process of a job at some moment, and those of its ranks."""
    launcher = start(folder)
    wait_for(lambda: due(folder) or launcher.poll() is not None, "the moment to kill", timeout_s=90)
    return launcher, ranks_of(launcher.pid)


def gone(processes: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}").exists() for pid in processes)


def kill_rank_when(folder: JobFolder, rank: int, due: Due) -> None:
    """Kills one rank; the whole group must end by itself."""
    launcher, ranks = started_until(folder, due)
    os.kill(ranks[rank], signal.SIGKILL)
    assert launcher.wait(timeout=30) == EXIT_FAULT
    assert gone(ranks)
    fault = read_fault(folder.fault)
    assert (fault.reason, fault.retriable) == ("RANK_LOST", True)


def kill_the_first_process_when(folder: JobFolder, due: Due) -> None:
    """Kills the process that started the others, as a cancelled job's server does."""
    launcher, ranks = started_until(folder, due)
    launcher.kill()
    launcher.wait()
    wait_for(lambda: gone(ranks), "the ranks to follow", timeout_s=10)


def same_on_two_ranks(root: Path, tutor: Teacher, data: Path, tokens_per_step: int, **changes: object) -> JobFolder:
    """The job of two ranks, whose curves are those of one process and whose teacher was asked for as much."""
    one, two = (Budget(steps=8, tokens_per_step=tokens_per_step, checkpoint_steps=4, ranks=ranks) for ranks in (1, 2))
    alone = job(root / "alone", tutor, data, budget=one, **changes)
    shared = job(root / "shared", tutor, data, budget=two, **changes)
    finish(alone)
    finish(shared)
    assert [point[:2] for point in curve(shared)] == [point[:2] for point in curve(alone)]
    for part in (2, 3):
        losses, expected = ([point[part] for point in curve(each) if point[part]] for each in (shared, alone))
        assert losses == pytest.approx(expected, rel=1e-3)
    ours, theirs = (read_result(each.result).cost for each in (shared, alone))
    assert (ours.training_tokens, ours.teacher_positions) == (theirs.training_tokens, theirs.teacher_positions)
    return shared


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_ranks_teach_what_one_does(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    states = Baseline(name="states", recipe=Recipe(kind="hidden_states", target=HiddenTarget()))
    shared = same_on_two_ranks(tmp_path, tutor, data, 400, baselines=(states,))
    two = Budget(steps=8, tokens_per_step=400, checkpoint_steps=4, ranks=2)
    by_torchrun = job(tmp_path / "torchrun", tutor, data, budget=two)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "seodang.distillation", str(by_torchrun.root)]
    subprocess.run(command, check=True, timeout=110, env=os.environ | {"SEODANG_DISTILLATION_THREADS": "1"})
    assert folder_sha256(by_torchrun.finished("student")) == folder_sha256(shared.finished("student"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_rank_ends_the_group_and_the_student_is_the_same(tutor: Teacher, tmp_path: Path) -> None:
    data = write_data(tmp_path / "sums.jsonl", rows=400)
    calm, killed = (job(tmp_path / name, tutor, data, budget=BUDGET) for name in ("calm", "killed"))
    finish(calm)
    kill_rank_when(killed, 0, steps_of("student", 6))
    kill_the_first_process_when(killed, steps_of("student", 13))
    finish(killed)
    assert folder_sha256(killed.finished("student")) == folder_sha256(calm.finished("student"))
    assert curve(killed) == curve(calm)


CANDIDATES = SampledTarget(head=3, tail_draws=3)
ON_POLICY = Recipe(kind="on_policy", divergence="reverse_kl", target=CANDIDATES)
LIVE = (
    Baseline(name="sampled", recipe=Recipe(kind="online", target=CANDIDATES)),
    Baseline(name="candidates", recipe=Recipe(kind="online", divergence="reverse_kl", target=CANDIDATES)),
    Baseline(name="states", recipe=Recipe(kind="on_policy", divergence="reverse_kl", target=HiddenTarget())),
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_ranks_that_ask_the_teacher_learn_what_one_does(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    shared = same_on_two_ranks(tmp_path, tutor, data, 300, recipe=ON_POLICY, baselines=LIVE)
    live = [store for store in shared.target_folders() if store.name.startswith("live-")]
    assert len(live) == 2 * (1 + len(LIVE))
    assert all(len(read_ledger(store)) == 8 for store in live)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_rank_for_which_no_batch_is_left_asks_for_nothing(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    """Steps of a single sequence, in tokens of the student's own."""
    tiny_tokenizers.sentence_piece_bpe().save_pretrained(tmp_path / "own")
    recipe = Recipe(kind="cross_tokenizer_online", target=TopKTarget(k=1), temperature=100.0)
    shared = same_on_two_ranks(tmp_path, tutor, data, 2, recipe=recipe, tokenizer=str(tmp_path / "own"))
    first, second = (store for store in shared.target_folders() if store.name.startswith("live-"))
    assert [len(read_ledger(store)) for store in (first, second)] == [8, 0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_group_that_asks_the_teacher_goes_on_after_a_rank_was_killed(
    tutor: Teacher, data: Path, tmp_path: Path
) -> None:
    budget = Budget(steps=12, tokens_per_step=300, checkpoint_steps=4, ranks=2, dtype="bfloat16")
    calm, killed = (job(tmp_path / name, tutor, data, recipe=ON_POLICY, budget=budget) for name in ("calm", "killed"))
    finish(calm)
    kill_rank_when(killed, 1, steps_of("student", 5))
    finish(killed)
    assert folder_sha256(killed.finished("student")) == folder_sha256(calm.finished("student"))
    assert curve(killed) == curve(calm)
    assert scored(killed) == scored(calm)
