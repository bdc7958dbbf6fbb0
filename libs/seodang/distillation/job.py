"""A whole job, from its folder to its result. Every step looks for what it made before and makes only the rest."""

from contextlib import ExitStack

import torch

from seodang.base.errors import InvalidInput
from seodang.distillation.cost import NO_RATES, Rates
from seodang.distillation.events import EventLog, Unheard
from seodang.distillation.folder import JobFolder
from seodang.distillation.gate import judge
from seodang.distillation.group import ALONE, Group
from seodang.distillation.lineage import lineage_of
from seodang.distillation.measuring import Measuring
from seodang.distillation.preparing import prepare
from seodang.distillation.report import Report
from seodang.distillation.result import JobResult, write_result
from seodang.distillation.spec import STUDENT, JobSpec, read_spec
from seodang.distillation.teacher import Patience, open_teacher
from seodang.distillation.teaching import prepare_lessons, teach
from seodang.distillation.training import CPU


def run_job(
    folder: JobFolder,
    patience: Patience,
    device: torch.device = CPU,
    group: Group = ALONE,
    *,
    rates: Rates = NO_RATES,
) -> None:
    """Does what is left of a job; returns when result.json is there, or this rank's part of the training is done.

    Args:
        patience: with a teacher that is away.
        device: where the students are trained and measured.
        group: this process among the job's ranks.
        rates: from which energy and price are estimated.

    Raises:
        SeodangError: what fault.json will say.
    """
    if folder.result.exists():
        return
    spec = read_spec(folder.spec)
    _check_ranks(spec, group)
    if not group.first:
        _train_along(folder, spec, patience, device, group)
        return
    with folder.locked(), EventLog(folder.events) as log, ExitStack() as connections:
        report = Report(log)
        report.stage("preparing", "asking the teacher who it is, gathering the data")
        teachers = [connections.enter_context(open_teacher(teacher, patience)) for teacher in spec.teachers]
        room = prepare(folder, spec, teachers, report, device, group)

        report.stage("scoring", f"{', '.join(teacher.spec.model for teacher in teachers)} gives its signal")
        measuring = Measuring(room)
        lessons = prepare_lessons(room)

        with group.joined(device):
            for subject in lessons:
                report.stage("training", f"training {subject}")
                teach(room, subject, lessons[subject])

        report.stage("evaluating", "measuring the teacher, the student and its baselines on held-out data")
        measurements = measuring.measure()

        report.stage("gating", "comparing the student with its gate")
        verdict = judge(spec.gate, measurements)
        lineage = lineage_of(
            spec, room.data, teachers, folder.finished(STUDENT), None if room.base is None else room.base.record
        )
        folder.link_student()
        result = JobResult(measurements=measurements, verdict=verdict, cost=measuring.cost(rates), lineage=lineage)
        write_result(folder.result, result)
        report.done("the student passed its gate" if verdict.passed else "the student missed its gate")


def _train_along(folder: JobFolder, spec: JobSpec, patience: Patience, device: torch.device, group: Group) -> None:
    """The part of a rank but the first. What it trains on is all there when the first one joins it."""
    with group.joined(device), ExitStack() as connections:
        teachers = [connections.enter_context(open_teacher(teacher, patience)) for teacher in spec.teachers]
        room = prepare(folder, spec, teachers, Report(Unheard()), device, group)
        lessons = prepare_lessons(room)
        for subject in lessons:
            teach(room, subject, lessons[subject])


def _check_ranks(spec: JobSpec, group: Group) -> None:
    if spec.budget.ranks != group.size:
        raise InvalidInput(
            f"this job is for ranks={spec.budget.ranks}, but {group.size} were started: let torchrun start as many, or "
            "`python -m seodang.distillation` without torchrun",
            field="spec.budget.ranks",
        )
