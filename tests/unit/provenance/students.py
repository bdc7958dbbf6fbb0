"""A finished job and its student, small but whole, in folders as the platform keeps them."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from seodang.api.distill.v1 import job_pb2
from seodang.distillation import JobFolder, encode_spec, spec_from_proto
from seodang.distillation.result import (
    Cost,
    DataRecord,
    GateCheck,
    JobResult,
    Lineage,
    Measurement,
    ReliabilityBin,
    TeacherRecord,
    Verdict,
    write_result,
)
from seodang.provenance import SigningKey, attest, tokenizer_sha256
from seodang.provenance.files import files_sha256, student_files

FIDELITY = {"forward_kl": 0.021, "top1_agreement": 0.953, "draft_acceptance": 0.91}
RELIABILITY = {"confidence": 0.8, "accuracy": 0.76, "positions": 900}
TEMPLATE = "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}{% endfor %}"


def asked() -> job_pb2.JobSpec:
    """The job as a caller asks for it."""
    return job_pb2.JobSpec(
        student="home",
        teachers=[job_pb2.Teacher(model="models/teacher")],
        data=job_pb2.DataSpec(file="home.jsonl", license="CC-BY-4.0 AND MIT", noised_copies=2),
        baselines=[job_pb2.Baseline(name="alone", recipe=job_pb2.Recipe(kind=job_pb2.Recipe.KIND_NO_TEACHER))],
        gate=job_pb2.Gate(max_points_below_teacher=5),
        seed=7,
    )


def finished_job(root: Path, **changes: Any) -> JobFolder:
    """The folder of a job that is done, with ``changes`` to the lineage of its result."""
    job = JobFolder(root / "jobs" / "run-1")
    spec_proto = asked()
    spec_proto.data.file = str(root / "data" / "home.jsonl")
    spec = spec_from_proto(spec_proto, "127.0.0.1:7101")
    _write_student(job.finished("student"))
    job.link_student()
    job.spec.write_bytes(encode_spec(spec))
    fields: dict[str, Any] = {
        "teachers": (_teacher(job),),
        "data": DataRecord(
            source="file:home.jsonl", license="CC-BY-4.0 AND MIT", sha256="d" * 64, train_examples=1200,
            dev_examples=40, eval_examples=200,
        ),
        "spec_sha256": hashlib.sha256(encode_spec(spec)).hexdigest(),
        "code_version": "seodang 0.1.0 distillation 0123456789abcdef",
        "torch_version": "2.13.0",
        "seed": 7,
        "student_sha256": files_sha256(student_files(job.finished("student"))),
    }  # fmt: skip
    measurements = (
        _measured("teacher", 0.94, 11_000),
        _measured("student", 0.91, 1_000),
        _measured("alone", 0.8, 1_000),
    )
    checks = (GateCheck(name="points below teacher", threshold=5.0, value=3.0, passed=True),)
    result = JobResult(
        measurements=measurements,
        verdict=Verdict(passed=True, checks=checks),
        cost=Cost(teacher_positions=5000, signal_bytes=180_000, training_tokens=90_000, training_flops=5.4e8,
                  scoring_s=4.25, training_s=12.5, evaluating_s=3.0),
        lineage=Lineage(**fields | changes),
    )  # fmt: skip
    write_result(job.result, result)
    return job


def attested(root: Path, key: SigningKey | None = None) -> Path:
    """The folder of a student that is published and bundled, with its record."""
    job = finished_job(root)
    student = root / "home"
    shutil.copytree(job.student, student)
    attest(student, job, key or SigningKey.open_or_make(root / "state" / "signing-key.pem"))
    (student / "record.json").write_text(json_format.MessageToJson(record(), indent=2))
    return student


def record() -> job_pb2.Job:
    """The job as its server tells it at the end."""
    measured = [("teacher", 0.94, 11_000), ("student", 0.91, 1_000), ("alone", 0.8, 1_000)]
    return job_pb2.Job(
        name="jobs/run-1",
        spec=asked(),
        state=job_pb2.JOB_STATE_SUCCEEDED,
        result=job_pb2.JobResult(
            version="models/home/versions/1",
            measurements=[
                job_pb2.Measurement(
                    subject=subject, parameters=parameters, task_score=score, task_score_low=score - 0.04,
                    task_score_high=score + 0.03, metric="exact answer", examples=200, cross_entropy=0.31,
                    calibration_error=0.04, reliability=[job_pb2.ReliabilityBin(**RELIABILITY)],
                    **({} if subject == "teacher" else FIDELITY),
                )
                for subject, score, parameters in measured
            ],
            verdict=job_pb2.GateVerdict(
                passed=True,
                checks=[job_pb2.GateCheck(name="points below teacher", threshold=5, value=3, passed=True)],
            ),
            cost=job_pb2.Cost(
                teacher_positions=5000, signal_bytes=180_000, training_tokens=90_000, training_flops=5.4e8,
                scoring_s=4.25, training_s=12.5, evaluating_s=3.0,
            ),
        ),
        attempts=1,
    )  # fmt: skip


def _write_student(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "llama"}))
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 5000)
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)


def _teacher(job: JobFolder) -> TeacherRecord:
    return TeacherRecord(
        model="models/teacher", weights_sha256="a" * 64, tokenizer_sha256=tokenizer_sha256(job.student),
        architecture="AXK1ForCausalLM", parameters=11_000, weight=1.0,
    )  # fmt: skip


def _measured(subject: str, score: float, parameters: int) -> Measurement:
    fidelity = {} if subject == "teacher" else FIDELITY
    return Measurement(
        subject=subject, parameters=parameters, task_score=score, task_score_low=score - 0.04,
        task_score_high=score + 0.03, metric="exact answer", examples=200, cross_entropy=0.31,
        calibration_error=0.04, reliability=(ReliabilityBin(**RELIABILITY),), **fidelity,
    )  # fmt: skip
