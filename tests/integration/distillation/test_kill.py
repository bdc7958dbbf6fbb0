"""kill -9 at every stage of a job: the student is bit by bit that of an undisturbed run, no position scored twice."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.integration.distillation.jobs import NO_TEACHER, job, write_data
from tests.serving import wait_for

from seodang.distillation import EXIT_DONE, CurvePoint, JobFolder, read_events, read_fault
from seodang.distillation.folder import folder_sha256
from seodang.distillation.spec import Budget, Recipe, SampledTarget, Teacher
from seodang.distillation.targets import read_ledger

Due = Callable[[JobFolder], bool]


def start(folder: JobFolder) -> subprocess.Popen[bytes]:
    environment = os.environ | {"SEODANG_DISTILLATION_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "seodang.distillation", str(folder.root)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)


def finish(folder: JobFolder) -> None:
    status = start(folder).wait(timeout=110)
    assert status == EXIT_DONE, read_fault(folder.fault).message if folder.fault.exists() else status


def kill_when(folder: JobFolder, due: Due, what: str) -> None:
    process = start(folder)
    wait_for(lambda: due(folder) or process.poll() is not None, what, timeout_s=90)
    assert process.poll() is None, f"the job ended before {what}"
    process.send_signal(signal.SIGKILL)
    process.wait()


def scored_something(folder: JobFolder) -> bool:
    return any(path.stat().st_size > 200 for path in (folder.root / "targets").glob("train-*/*.journal"))


def steps_of(subject: str, steps: int) -> Due:
    def due(folder: JobFolder) -> bool:
        events, _ = read_events(folder.events)
        return any(isinstance(each, CurvePoint) and each.subject == subject and each.step >= steps for each in events)

    return due


def answered(folder: JobFolder) -> bool:
    return (folder.evaluation("teacher") / "answers.jsonl").exists()


MOMENTS: dict[str, Due] = {
    "data being frozen": lambda folder: folder.tokenizer.exists(),
    "scoring": scored_something,
    "a step between checkpoints": steps_of("student", 6),
    "a later step": steps_of("student", 17),
    "the baseline's training": steps_of("no-teacher", 3),
    "evaluation": answered,
}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_every_stage_the_student_is_the_same(tutor: Teacher, tmp_path: Path) -> None:
    data = write_data(tmp_path / "sums.jsonl", rows=400)
    changes = {
        "baselines": (NO_TEACHER,),
        "budget": Budget(steps=24, tokens_per_step=1500, checkpoint_steps=5),
    }
    calm, killed = (job(tmp_path / name, tutor, data, **changes) for name in ("calm", "killed"))
    finish(calm)
    for what, due in MOMENTS.items():
        kill_when(killed, due, what)
    finish(killed)
    for subject in ("student", "no-teacher"):
        assert folder_sha256(killed.finished(subject)) == folder_sha256(calm.finished(subject))
    assert scored(killed) == scored(calm)
    assert curve(killed) == curve(calm)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_on_policy_training_is_the_same_and_asks_for_nothing_twice(tutor: Teacher, tmp_path: Path) -> None:
    data = write_data(tmp_path / "sums.jsonl")
    recipe = Recipe(kind="on_policy", divergence="reverse_kl", target=SampledTarget(head=3, tail_draws=3))
    changes = {"recipe": recipe, "budget": Budget(steps=10, tokens_per_step=300, checkpoint_steps=4)}
    calm, killed = (job(tmp_path / name, tutor, data, **changes) for name in ("calm", "killed"))
    finish(calm)
    for steps in (3, 7):
        kill_when(killed, steps_of("student", steps), f"step {steps}")
    finish(killed)
    assert folder_sha256(killed.finished("student")) == folder_sha256(calm.finished("student"))
    assert scored(killed) == scored(calm)


def scored(folder: JobFolder) -> list[tuple[str, str, int]]:
    """Every shard of every store: each stands in the ledger once."""
    lines = [
        (store.name, each.name, each.positions) for store in folder.target_folders() for each in read_ledger(store)
    ]
    assert len(lines) == len(set(lines))
    return sorted(lines)


def curve(folder: JobFolder) -> list[tuple[str, int, float, float | None]]:
    events, _ = read_events(folder.events)
    return [(each.subject, each.step, each.loss, each.eval_loss) for each in events if isinstance(each, CurvePoint)]
