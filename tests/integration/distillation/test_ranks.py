"""Jobs whose students train on two ranks: the curve of one process, and nothing lost when a rank is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.distillation.jobs import job, write_data
from tests.integration.distillation.test_kill import Due, curve, finish, start, steps_of
from tests.serving import wait_for

from seodang.distillation import EXIT_FAULT, JobFolder, read_fault, read_result
from seodang.distillation.folder import folder_sha256
from seodang.distillation.spec import Budget, Teacher

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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_ranks_teach_what_one_does(tutor: Teacher, data: Path, tmp_path: Path) -> None:
    budget = Budget(steps=8, tokens_per_step=400, checkpoint_steps=4)
    two = Budget(steps=8, tokens_per_step=400, checkpoint_steps=4, ranks=2)
    alone = job(tmp_path / "alone", tutor, data, budget=budget)
    shared = job(tmp_path / "shared", tutor, data, budget=two)
    finish(alone)
    finish(shared)
    assert [point[:2] for point in curve(shared)] == [point[:2] for point in curve(alone)]
    for part in (2, 3):
        ours, theirs = ([point[part] for point in curve(each) if point[part]] for each in (shared, alone))
        assert ours == pytest.approx(theirs, rel=1e-4)
    by_torchrun = job(tmp_path / "torchrun", tutor, data, budget=two)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "-m", "seodang.distillation", str(by_torchrun.root)]
    subprocess.run(command, check=True, timeout=110, env=os.environ | {"SEODANG_DISTILLATION_THREADS": "1"})
    assert folder_sha256(by_torchrun.finished("student")) == folder_sha256(shared.finished("student"))
    assert read_result(shared.result).cost.training_tokens == read_result(alone.result).cost.training_tokens


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
