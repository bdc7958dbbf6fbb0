"""Training each subject of a job: its lessons, its student, its place in the folder."""

import hashlib

import msgspec
import torch

from seodang.distillation.recipes import HiddenStates, Room, lessons_of
from seodang.distillation.spec import AdapterShape, DenseShape
from seodang.distillation.training import (
    AnyCheckpoints,
    Student,
    Training,
    TrainingState,
    build_adapted,
    build_student,
    checkpoints_of,
    train,
    whole_weights,
)
from seodang.distillation.training.engine import Lessons
from seodang.distillation.training.inheritance import inherit_embeddings


def prepare_lessons(room: Room) -> dict[str, Lessons]:
    """The lessons of each subject that has not finished; the teacher is asked for what they need beforehand."""
    return {
        subject: lessons_of(recipe, room, subject)
        for subject, recipe in room.spec.subjects.items()
        if not room.folder.finished(subject).exists()
    }


def teach(room: Room, subject: str, lessons: Lessons) -> None:
    """Trains one subject to its end and writes its transformers folder."""
    student = _new_student(room, subject)
    checkpoints = _checkpoints(room, subject)
    budget = room.spec.budget
    waiting = [other for other in room.spec.subjects if not room.folder.finished(other).exists()]
    progress = room.report.progress(
        subject, budget.steps, "steps", done=checkpoints.last_step, later=budget.steps * (len(waiting) - 1)
    )
    training = Training(
        subject=subject,
        fingerprint=_fingerprint(room, subject),
        budget=budget,
        lessons=lessons,
        matching=lessons.matching(student) if isinstance(lessons, HiddenStates) else None,
        dev=room.data.encoded["dev"],
        checkpoints=checkpoints,
        on_point=room.report.point,
        on_step=lambda state: progress.add(1),
        before_checkpoint=room.report.sync,
        group=room.group,
    )
    train(student, training)
    _save(room, subject, student)


def _save(room: Room, subject: str, student: Student) -> None:
    if room.group.size > 1:
        weights = whole_weights(student.model)
        if not room.group.first:
            return
        student = _random_student(room)
        with torch.no_grad():
            for name, parameter in student.model.named_parameters():
                parameter.copy_(weights[name])
    student.save(room.folder.finished(subject), room.student_tokenizer)


def _new_student(room: Room, subject: str) -> Student:
    """The student before its first step: all subjects of a job begin alike, but for what only a teacher can give."""
    spec, student = room.spec, _random_student(room)
    inherits = isinstance(spec.shape, DenseShape) and spec.shape.inherit_embeddings and room.group.first
    if inherits and spec.subjects[subject].kind != "no_teacher":
        inherit_embeddings(student, room.teachers[0].output_head(), spec.seed)
    student.model.to(room.device)
    return student


def _random_student(room: Room) -> Student:
    spec, end_id = room.spec, room.tokenizer.end_id
    if isinstance(spec.shape, AdapterShape):
        return build_adapted(spec.shape, end_id, spec.seed)
    context_tokens = room.teachers[0].identity.context_tokens
    return build_student(spec.shape, room.vocabulary_size, end_id, context_tokens, spec.seed)


def _checkpoints(room: Room, subject: str) -> AnyCheckpoints:
    return checkpoints_of(room.folder.training(subject), room.spec.budget.ranks, room.group)


def training_state(room: Room, subject: str) -> TrainingState:
    """Where a subject's training ended."""
    return _checkpoints(room, subject).last_state()


def _fingerprint(room: Room, subject: str) -> str:
    """Of all that determines a training."""
    spec = room.spec
    budget = msgspec.structs.asdict(spec.budget)
    dtype = budget.pop("dtype")
    parts = (
        spec.subjects[subject],
        spec.shape,
        budget,
        spec.seed,
        room.data.manifest.sha256,
        [(teacher.identity.weights_sha256, teacher.spec.weight) for teacher in room.teachers],
        *([] if room.base is None else [room.base.sha256]),
        # Trainings of before there was a choice go on.
        *([] if dtype == "float32" else [dtype]),
    )
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()
