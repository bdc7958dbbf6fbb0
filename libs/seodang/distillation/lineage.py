"""What made a student, in digests that can be checked without this process."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from seodang.distillation.data import FrozenData
from seodang.distillation.folder import folder_sha256
from seodang.distillation.result import BaseRecord, DataRecord, Lineage, TeacherRecord
from seodang.distillation.spec import JobSpec, encode_spec
from seodang.distillation.teacher import TeacherConnection


def lineage_of(
    spec: JobSpec,
    data: FrozenData,
    teachers: Sequence[TeacherConnection],
    student: Path,
    base: BaseRecord | None = None,
) -> Lineage:
    """The record of a finished student."""
    manifest = data.manifest
    return Lineage(
        teachers=tuple(_teacher(teacher) for teacher in teachers),
        data=DataRecord(
            source=manifest.source,
            license=manifest.license,
            sha256=manifest.sha256,
            train_examples=manifest.examples["train"],
            dev_examples=manifest.examples["dev"],
            eval_examples=manifest.examples["eval"],
        ),
        spec_sha256=hashlib.sha256(encode_spec(spec)).hexdigest(),
        code_version=f"seodang {version('seodang')} distillation {folder_sha256(Path(__file__).parent, '*.py')[:16]}",
        torch_version=str(torch.__version__),
        seed=spec.seed,
        student_sha256=folder_sha256(student),
        student_tokenizer_sha256=manifest.student_tokenizer_sha256,
        base=base,
        training_dtype=spec.budget.dtype,
    )


def _teacher(teacher: TeacherConnection) -> TeacherRecord:
    identity = teacher.identity
    return TeacherRecord(
        model=identity.model,
        weights_sha256=identity.weights_sha256,
        tokenizer_sha256=identity.tokenizer_sha256,
        architecture=identity.architecture,
        parameters=identity.parameters,
        weight=teacher.spec.weight or 1.0,
    )
