"""A whole job, from its folder to its result. Every step looks for what it made before and makes only the rest."""

from collections.abc import Sequence
from contextlib import ExitStack

import torch

from seodang.base.errors import Unsupported
from seodang.distillation.data import TeacherTokenizer, freeze, gather, open_frozen
from seodang.distillation.events import EventLog
from seodang.distillation.folder import JobFolder, whole_folder
from seodang.distillation.gate import judge
from seodang.distillation.lineage import lineage_of
from seodang.distillation.measuring import Measuring
from seodang.distillation.recipes import Room
from seodang.distillation.report import Report
from seodang.distillation.result import JobResult, write_result
from seodang.distillation.spec import STUDENT, JobSpec, read_spec
from seodang.distillation.teacher import Patience, TeacherConnection, open_teacher
from seodang.distillation.teaching import prepare_lessons, teach
from seodang.distillation.training import CPU, context_limit


def run_job(folder: JobFolder, patience: Patience, device: torch.device = CPU) -> None:
    """Does what is left of a job; returns when result.json is there.

    Args:
        patience: with a teacher that is away.
        device: where the students are trained and measured.

    Raises:
        SeodangError: what fault.json will say.
    """
    if folder.result.exists():
        return
    spec = read_spec(folder.spec)
    with folder.locked(), EventLog(folder.events) as log, ExitStack() as connections:
        report = Report(log)
        report.stage("preparing", "asking the teacher who it is, gathering the data")
        teachers = [connections.enter_context(open_teacher(teacher, patience)) for teacher in spec.teachers]
        room = _prepare(folder, spec, teachers, report, device)

        report.stage("scoring", f"{', '.join(teacher.spec.model for teacher in teachers)} gives its signal")
        measuring = Measuring(room)
        lessons = prepare_lessons(room)

        for subject in lessons:
            report.stage("training", f"training {subject}")
            teach(room, subject, lessons[subject])

        report.stage("evaluating", "measuring the teacher, the student and its baselines on held-out data")
        measurements = measuring.measure()

        report.stage("gating", "comparing the student with its gate")
        verdict = judge(spec.gate, measurements)
        lineage = lineage_of(spec, room.data, teachers, folder.finished(STUDENT))
        folder.link_student()
        result = JobResult(measurements=measurements, verdict=verdict, cost=measuring.cost(), lineage=lineage)
        write_result(folder.result, result)
        report.done("the student passed its gate" if verdict.passed else "the student missed its gate")


def _prepare(
    folder: JobFolder, spec: JobSpec, teachers: Sequence[TeacherConnection], report: Report, device: torch.device
) -> Room:
    """Tokenizer and data, from the folder or made now."""
    first = teachers[0].identity
    for other in (teacher.identity for teacher in teachers[1:]):
        for name in ("tokenizer_sha256", "vocabulary_size"):
            one, two = str(getattr(first, name)), str(getattr(other, name))
            if one != two:
                raise Unsupported(
                    f"{first.model} and {other.model} differ in {name} ({one[:12]}, {two[:12]}): mixing is by token, "
                    "so teachers need one tokenizer and chat template, and one width of vocabulary"
                )
    if folder.tokenizer.exists():
        teachers[0].check_tokenizer(folder.tokenizer)
    else:
        with whole_folder(folder.tokenizer) as partial:
            teachers[0].fetch_tokenizer(partial)
    tokenizer = TeacherTokenizer(folder.tokenizer)
    if not (folder.data / "manifest.json").exists():
        limits = [context_limit(spec.shape), *(teacher.identity.context_tokens for teacher in teachers)]
        context_tokens = min(limit for limit in limits if limit is not None)
        freeze(folder.data, gather(spec.data, spec.seed), tokenizer, first.tokenizer_sha256, context_tokens)
    data = open_frozen(folder.data, first.tokenizer_sha256)
    return Room(folder, spec, data, tokenizer, teachers, report, device)
