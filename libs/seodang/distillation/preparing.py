"""The beginning of a job: tokenizers and data, from its folder or made now."""

from collections.abc import Sequence
from pathlib import Path

import torch

from seodang.base.errors import Unsupported
from seodang.distillation.base_model import Base, open_base
from seodang.distillation.data import ChatTokenizer, Gathered, Reader, freeze, gather, open_frozen
from seodang.distillation.folder import JobFolder, whole_folder
from seodang.distillation.group import ALONE, Group
from seodang.distillation.labelling import answered
from seodang.distillation.recipes import Room
from seodang.distillation.report import Report
from seodang.distillation.spec import AdapterShape, DatasetSource, JobSpec
from seodang.distillation.teacher import TeacherConnection
from seodang.distillation.tokenizer_files import copy_tokenizer, tokenizer_sha256, vocabulary_of
from seodang.distillation.training import context_limit


def prepare(
    folder: JobFolder,
    spec: JobSpec,
    teachers: Sequence[TeacherConnection],
    report: Report,
    device: torch.device,
    group: Group = ALONE,
) -> Room:
    """What every recipe works with.

    Raises:
        Unsupported: teachers that cannot be mixed.
        Conflict: a tokenizer changed since the job began.
        InvalidInput: the data, the students' tokenizer or their base do not serve.
    """
    _check_alike(teachers)
    identity = teachers[0].identity
    context_tokens = min(teacher.identity.context_tokens for teacher in teachers)
    student_context = min(context_limit(spec.shape) or context_tokens, context_tokens)
    teacher = Reader(_teacher_tokenizer(folder, teachers[0]), identity.tokenizer_sha256, context_tokens)
    student = _student_reader(folder, spec, student_context)
    vocabulary_size = identity.vocabulary_size if student is None else vocabulary_of(folder.own_tokenizer)
    base = _base(folder, spec, vocabulary_size)
    if not (folder.data / "manifest.json").exists():
        shared = Reader(teacher.tokenizer, teacher.sha256, student_context) if student is None else teacher
        freeze(folder.data, _gathered(folder, spec, teachers[0], shared), shared, student)
    data = open_frozen(folder.data, teacher.sha256, "" if student is None else student.sha256)
    tokenizer = (student or teacher).tokenizer
    width = base.vocabulary_size if base else vocabulary_size
    return Room(folder, spec, data, tokenizer, teachers, report, device, width, base, group)


def _gathered(folder: JobFolder, spec: JobSpec, teacher: TeacherConnection, reader: Reader) -> Gathered:
    """The examples; those of captured traffic with the teacher's answers in place of what people got."""
    gathered = gather(spec.data, spec.seed)
    if not isinstance(spec.data.source, DatasetSource):
        return gathered
    claim = f"{teacher.identity} {spec.data}"
    return answered(
        gathered,
        lambda example: len(reader.tokenizer.prompt(example.messages)) < reader.context_tokens,
        teacher.answers,
        folder.data / "answers.jsonl",
        claim,
    )


def _base(folder: JobFolder, spec: JobSpec, vocabulary_size: int) -> Base | None:
    if not isinstance(spec.shape, AdapterShape):
        return None
    tokenizer = folder.own_tokenizer if spec.tokenizer else folder.tokenizer
    return open_base(spec.shape, tokenizer, vocabulary_size, exactly=not spec.tokenizer)


def _check_alike(teachers: Sequence[TeacherConnection]) -> None:
    first = teachers[0].identity
    for other in (teacher.identity for teacher in teachers[1:]):
        for name in ("tokenizer_sha256", "vocabulary_size"):
            one, two = str(getattr(first, name)), str(getattr(other, name))
            if one != two:
                raise Unsupported(
                    f"{first.model} and {other.model} differ in {name} ({one[:12]}, {two[:12]}): mixing is by token, "
                    "so teachers need one tokenizer and chat template, and one width of vocabulary"
                )


def _teacher_tokenizer(folder: JobFolder, teacher: TeacherConnection) -> ChatTokenizer:
    if folder.tokenizer.exists():
        teacher.check_tokenizer(folder.tokenizer)
    else:
        with whole_folder(folder.tokenizer) as partial:
            teacher.fetch_tokenizer(partial)
    return ChatTokenizer(folder.tokenizer)


def _student_reader(folder: JobFolder, spec: JobSpec, context_tokens: int) -> Reader | None:
    """How students read; None if as the teacher does."""
    if not spec.tokenizer:
        return None
    if not folder.own_tokenizer.exists():
        vocabulary_of(Path(spec.tokenizer))
        copy_tokenizer(Path(spec.tokenizer), folder.own_tokenizer)
    tokenizer = ChatTokenizer(folder.own_tokenizer, "the student's")
    return Reader(tokenizer, tokenizer_sha256(folder.own_tokenizer), context_tokens)
