"""A finished student becomes a signed version, its alias moves if its gate says so, its job succeeds: all or none."""

import asyncio
from datetime import datetime

import msgspec
from google.protobuf import json_format

from seodang.distill.clock import Clock
from seodang.distill.database.unit_of_work import Database
from seodang.distill.jobs.domain import Job
from seodang.distill.registry.domain import (
    AliasName,
    Cause,
    Draft,
    Node,
    NodeKind,
    StoredFile,
    VersionName,
)
from seodang.distill.registry.files import VersionFiles
from seodang.distill.registry.service import move_alias
from seodang.distill.workers.attested import attested_student
from seodang.distill.workers.translation import job_result
from seodang.distillation import JobFolder, JobResult, read_result
from seodang.provenance import SigningKey


class Publisher:
    """Brings students into the registry. Doing it again for the same job changes nothing."""

    def __init__(self, database: Database, files: VersionFiles, key: SigningKey, clock: Clock) -> None:
        self._database = database
        self._files = files
        self._key = key
        self._clock = clock

    async def publish(self, job_id: str, folder: JobFolder) -> Job:
        """The job, succeeded.

        Raises:
            Conflict: the result is not one of this version, or student or job are not those that were measured.
            InvalidInput: the student is not a folder of files.
        """
        result = await asyncio.to_thread(read_result, folder.result)
        student = await asyncio.to_thread(attested_student, folder, self._key)
        files = await asyncio.to_thread(self._files.take_in, student)
        now = self._clock()
        async with self._database.write() as work:
            job = await work.jobs.get(job_id, lock=True)
            version = await work.versions.add(_draft(job, result, files, now))
            message = f"published as {version.name}"
            if result.verdict.passed and job.spec.gate.promote_to:
                alias = AliasName(version.name.model, job.spec.gate.promote_to)
                await move_alias(work, alias, version, "", Cause.GATE, now)
                message += f", which passed its gate and is {alias} now"
            elif not result.verdict.passed:
                failed = [check.name for check in result.verdict.checks if not check.passed]
                message += f"; it did not pass its gate: {', '.join(failed)}"
            job = await work.jobs.save(job.succeeded(job_result(result, str(version.name)), message, now))
            await work.commit()
        return job


def _draft(job: Job, result: JobResult, files: tuple[StoredFile, ...], now: datetime) -> Draft:
    student = next(measured for measured in result.measurements if measured.subject == "student")
    scores = {
        student.metric: student.task_score,
        "cross_entropy": student.cross_entropy,
        "forward_kl": student.forward_kl,
        "top1_agreement": student.top1_agreement,
        "draft_acceptance": student.draft_acceptance,
        "own_text_kl": student.own_text_kl,
        "reverse_kl": student.reverse_kl,
        "own_text_forward_kl": student.own_text_forward_kl,
        "top8_overlap": student.top8_overlap,
        "calibration_error": student.calibration_error,
    }
    return Draft(
        model=job.spec.student,
        job_id=job.id,
        create_time=now,
        parameters=student.parameters,
        files=files,
        passed_gate=result.verdict.passed,
        scores={name: value for name, value in scores.items() if value is not None},
        ancestors=tuple(_ancestors(job, result)),
    )


def _ancestors(job: Job, result: JobResult) -> list[Node]:
    made = result.lineage
    asked = json_format.MessageToJson(job.spec.recipe, preserving_proto_field_name=True, indent=None)
    recipe = {"spec_sha256": made.spec_sha256, "seed": str(made.seed), "recipe": asked, "dtype": made.training_dtype}
    if made.student_tokenizer_sha256:
        recipe["student_tokenizer_sha256"] = made.student_tokenizer_sha256
    if made.base is not None:
        recipe |= {"base": made.base.name, "base_sha256": made.base.sha256}
    return [
        *(Node(_identity(each.model, each.weights_sha256), NodeKind.TEACHER, _facts(each)) for each in made.teachers),
        Node(_identity(made.data.source, made.data.sha256), NodeKind.DATA, _facts(made.data)),
        Node(f"{job.name}/recipe", NodeKind.RECIPE, recipe),
        Node(made.code_version, NodeKind.CODE, {"torch_version": made.torch_version}),
    ]


def _identity(name: str, sha256: str) -> str:
    """A name that means the same thing for ever: a version's own, any other with the beginning of its digest."""
    return name if VersionName.match(name) else f"{name}#{sha256[:12]}"


def _facts(record: msgspec.Struct) -> dict[str, str]:
    return {name: str(value) for name, value in msgspec.structs.asdict(record).items()}
