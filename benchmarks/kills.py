"""What is lost when the process of a distillation job is killed, again and again, at random moments.

Runs a job on the bundled teacher once undisturbed, then as often as it takes with ``kill -9`` after a random time,
until so many kills have hit. Every disturbed run must end in the undisturbed one's student, bit by bit.

    python -m benchmarks.kills [--kills 100] [--seed 0]
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.result import Result, Row, machine, versions
from benchmarks.teacher import MODEL, own_teacher
from seodang.distillation import (
    EXIT_DONE,
    CurvePoint,
    JobFolder,
    JobSpec,
    StateChanged,
    encode_spec,
    read_events,
    resolve,
)
from seodang.distillation.folder import folder_sha256, write_whole
from seodang.distillation.spec import Baseline, Budget, CorpusSource, Data, DenseShape, Recipe, Teacher
from seodang.distillation.targets import read_ledger

SHORTEST_LIFE_S, LONGEST_LIFE_S = 2.0, 7.0
SUMMARY = """One job, a student of the bundled teacher and one without it, run to its end undisturbed and then with its
process killed by SIGKILL after a random time, started again on the same folder, and so on. *Stage* is what the job had
last said that it was doing. A position counts as scored twice if it stands in more than one shard of the ledger, as
lost if the undisturbed run has it and a disturbed one does not; a student or curve differs if any bit of it does. The
teacher runs with reproducible scores."""
ALL = "all"


@dataclass
class Campaign:
    """What the kills did."""

    kills: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    positions: int = 0
    positions_twice: int = 0
    positions_lost: int = 0
    students_that_differ: int = 0
    curves_that_differ: int = 0

    def compare(self, calm: JobFolder, killed: JobFolder) -> None:
        """Adds what a finished disturbed run has otherwise than the undisturbed one."""
        expected, actual = ledger(calm), ledger(killed)
        self.runs += 1
        self.positions += sum(expected.values())
        self.positions_twice += sum((actual - expected).values())
        self.positions_lost += sum((expected - actual).values())
        subjects = ("student", "no-teacher")
        self.students_that_differ += sum(
            folder_sha256(calm.finished(each)) != folder_sha256(killed.finished(each)) for each in subjects
        )
        self.curves_that_differ += curve(calm) != curve(killed)

    def rows(self) -> list[Row]:
        """A line a stage, then one for all."""
        stages: list[Row] = [{"stage": stage, "kills": count} for stage, count in self.kills.most_common()]
        together: Row = {
            "stage": ALL,
            "kills": self.kills.total(),
            "runs": self.runs,
            "positions": self.positions,
            "positions_scored_twice": self.positions_twice,
            "positions_lost": self.positions_lost,
            "students_that_differ": self.students_that_differ,
            "curves_that_differ": self.curves_that_differ,
        }
        return [*stages, together]


def write_job(root: Path, address: str) -> JobFolder:
    """A job of about a minute: 400 commands for the home, 60 steps, a baseline."""
    spec = JobSpec(
        student="kills",
        teachers=(Teacher(model=MODEL, address=address),),
        data=Data(source=CorpusSource(name="home"), train_examples=400, eval_examples=40),
        shape=DenseShape(hidden_size=32, layers=2, heads=2, kv_heads=1),
        budget=Budget(steps=60, tokens_per_step=1024, checkpoint_steps=10),
        baselines=(Baseline(name="no-teacher", recipe=Recipe(kind="no_teacher")),),
    )
    folder = JobFolder(root)
    write_whole(folder.spec, encode_spec(resolve(spec)))
    return folder


def live(folder: JobFolder, seconds: float | None) -> bool:
    """Starts the job's process and kills it after ``seconds``; whether it ended by itself before."""
    environment = os.environ | {"SEODANG_DISTILLATION_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "seodang.distillation", str(folder.root)]
    with (folder.root / "log").open("ab") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return False
    if status != EXIT_DONE:
        sys.exit(f"benchmarks.kills: the job ended with status {status}:\n{(folder.root / 'log').read_text()}")
    return True


def stage(folder: JobFolder) -> str:
    """What the job last said that it was doing."""
    if not folder.events.exists():
        return "starting"
    stages = [event.stage for event in read_events(folder.events)[0] if isinstance(event, StateChanged)]
    return stages[-1] if stages else "starting"


def ledger(folder: JobFolder) -> Counter[tuple[str, str]]:
    """Scored positions of each shard of each store."""
    counted: Counter[tuple[str, str]] = Counter()
    for store in folder.target_folders():
        for record in read_ledger(store):
            counted[store.name, record.name] += record.positions
    return counted


def curve(folder: JobFolder) -> list[tuple[str, int, float, float | None]]:
    """Every point of every loss curve."""
    events, _ = read_events(folder.events)
    return [(each.subject, each.step, each.loss, each.eval_loss) for each in events if isinstance(each, CurvePoint)]


def measure(kills: int, seed: int, root: Path, address: str) -> list[Row]:
    """The rows of the result."""
    chance = random.Random(seed)
    started = time.monotonic()
    calm = write_job(root / "calm", address)
    live(calm, None)
    print(f"undisturbed: {time.monotonic() - started:.0f} s", flush=True)
    campaign = Campaign()
    while campaign.kills.total() < kills:
        killed = write_job(root / f"killed-{campaign.runs}", address)
        while not live(killed, chance.uniform(SHORTEST_LIFE_S, LONGEST_LIFE_S)):
            campaign.kills[stage(killed)] += 1
        campaign.compare(calm, killed)
        print(f"{campaign.kills.total()} of {kills} kills, {dict(campaign.rows()[-1])}", flush=True)
    return campaign.rows()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=100)
    arguments.add_argument("--seed", type=int, default=0, help="of the moments")
    given = arguments.parse_args()
    before = machine()
    with tempfile.TemporaryDirectory() as root, own_teacher(threads=1, reproducible_scores=True) as address:
        rows = measure(given.kills, given.seed, Path(root), address)
    Result(
        name="kills",
        title="A job that is killed again and again",
        summary=SUMMARY,
        command=" ".join(["python -m benchmarks.kills", *sys.argv[1:]]),
        rows=rows,
        machine=before,
        versions=versions("torch", "grpcio"),
    ).write()


if __name__ == "__main__":
    main()
