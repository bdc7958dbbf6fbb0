"""A worker that keeps the job folder's contract and learns something tiny, for tests of whoever runs workers.

It fits one number by gradient descent, writes a durable checkpoint every ``checkpoint_steps`` steps and goes on from
the last one when it is started again. Labels of the job make it misbehave:

    step-ms            milliseconds a step takes
    hangs-at           steps at which it hangs when it first comes there, until it is killed: "8 25"
    dies-at            it kills itself when it first comes to this step
    always-dies-at     ... whenever it comes to this step
    spoils-student     it changes the student after it has measured it
    fault              name of the error it gives up with, at its first start or, with always-fault, at every start
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path

from seodang.base import errors
from seodang.distillation import (
    EXIT_DONE,
    EXIT_FAULT,
    CurvePoint,
    EventLog,
    JobFolder,
    JobResult,
    JobSpec,
    Measured,
    Measurement,
    Progressed,
    StateChanged,
    read_spec,
)
from seodang.distillation.fault import write_fault
from seodang.distillation.folder import write_whole
from seodang.distillation.result import Cost, DataRecord, GateCheck, Lineage, TeacherRecord, Verdict, write_result

TARGET = 3.0
# Of a tokenizer.json that is "{}", without a chat template.
TOKENIZER_SHA256 = hashlib.sha256(f"{hashlib.sha256(b'{}').hexdigest()}\n".encode()).hexdigest()


def main(root: Path) -> int:
    folder = JobFolder(root)
    try:
        spec = read_spec(folder.spec)
        with folder.locked(), EventLog(folder.events, progress_interval_s=0.05) as log:
            give_up_if_asked(folder, spec)
            work(folder, spec, log)
    except Exception as error:  # noqa: BLE001 - the contract: whatever it is, it is written down
        write_fault(folder.fault, error)
        return EXIT_FAULT
    return EXIT_DONE


def give_up_if_asked(folder: JobFolder, spec: JobSpec) -> None:
    kind = spec.labels.get("always-fault") or (spec.labels.get("fault") if first_time(folder, "faulted") else "")
    if kind:
        raise getattr(errors, kind)(f"the worker was told to give up with {kind}")


def work(folder: JobFolder, spec: JobSpec, log: EventLog) -> None:
    log.write(StateChanged(stage="preparing", message="reading the data"))
    values = {}
    for subject in spec.subjects:
        log.write(StateChanged(stage="training", message=f"training {subject}"))
        values[subject] = train(folder, spec, subject, log)
    log.write(StateChanged(stage="evaluating", message="measuring"))
    measured = [measurement("teacher", 0.9), *(measurement(subject, 0.8) for subject in values)]
    for each in measured:
        log.write(Measured(measurement=each))
    save_student(folder, values["student"])
    write_result(folder.result, result(folder, spec, tuple(measured)))
    if "spoils-student" in spec.labels:
        (folder.finished("student") / "config.json").write_text("{}")
    log.write(StateChanged(stage="gating", message="done", done=True))


def train(folder: JobFolder, spec: JobSpec, subject: str, log: EventLog) -> float:
    checkpoint = folder.training(subject) / "checkpoint.json"
    step, value = json.loads(checkpoint.read_text()) if checkpoint.exists() else (0, 0.0)
    while step < spec.budget.steps:
        time.sleep(float(spec.labels.get("step-ms", "0")) / 1000)
        step += 1
        value -= 0.1 * (value - TARGET)
        die_if_asked(folder, spec, step)
        log.write(
            CurvePoint(
                subject=subject, step=step, loss=(value - TARGET) ** 2, learning_rate=0.1, tokens_per_s=1.0,
                eval_loss=value if step % 10 == 0 else None,
            )
        )  # fmt: skip
        log.write(
            Progressed(stage="training", subject=subject, done=step, total=spec.budget.steps, unit="steps", rate=1.0)
        )
        hang_if_asked(folder, spec, step)
        if step % spec.budget.checkpoint_steps == 0 or step == spec.budget.steps:
            log.sync()
            write_whole(checkpoint, json.dumps([step, value]).encode())
    return value


def die_if_asked(folder: JobFolder, spec: JobSpec, step: int) -> None:
    once, always = spec.labels.get("dies-at"), spec.labels.get("always-dies-at")
    if always == str(step) or (once == str(step) and first_time(folder, "died")):
        print("the worker was told to die", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)


def hang_if_asked(folder: JobFolder, spec: JobSpec, step: int) -> None:
    if str(step) in spec.labels.get("hangs-at", "").split() and first_time(folder, f"hung-{step}"):
        while True:
            signal.pause()


def first_time(folder: JobFolder, event: str) -> bool:
    mark = folder.root / event
    if mark.exists():
        return False
    mark.touch()
    return True


def save_student(folder: JobFolder, value: float) -> None:
    finished = folder.finished("student")
    write_whole(finished / "config.json", json.dumps({"value": value}).encode())
    write_whole(finished / "model.safetensors", repr(value).encode() * 200_000)
    write_whole(finished / "tokenizer.json", b"{}")
    write_whole(finished / "tokenizer" / "empty.txt", b"")
    if not folder.student.is_symlink():
        folder.student.symlink_to(Path("students") / "student")


def measurement(subject: str, score: float) -> Measurement:
    return Measurement(
        subject=subject, parameters=1000, task_score=score, task_score_low=score - 0.1, task_score_high=score + 0.1,
        metric="exact answer", examples=50, cross_entropy=1.5,
        forward_kl=None if subject == "teacher" else 0.25, top1_agreement=None if subject == "teacher" else 0.75,
    )  # fmt: skip


def folder_sha256(folder: Path) -> str:
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    lines = "".join(f"{hashlib.sha256((folder / path).read_bytes()).hexdigest()}  {path}\n" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()


def result(folder: JobFolder, spec: JobSpec, measured: tuple[Measurement, ...]) -> JobResult:
    least = spec.gate.min_task_score
    checks = (
        () if least is None else (GateCheck(name="min_task_score", threshold=least, value=0.8, passed=least <= 0.8),)
    )
    return JobResult(
        measurements=measured,
        verdict=Verdict(
            passed=all(check.passed for check in checks), checks=checks, promote_to=spec.gate.promote_to
        ),
        cost=Cost(teacher_positions=100, training_tokens=spec.budget.steps, training_s=1.0),
        lineage=Lineage(
            teachers=tuple(
                TeacherRecord(
                    model=teacher.model, weights_sha256="a" * 64, tokenizer_sha256=TOKENIZER_SHA256,
                    architecture="AXK1ForCausalLM", parameters=9000, weight=teacher.weight or 1.0,
                )
                for teacher in spec.teachers
            ),
            data=DataRecord(
                source="file:data.jsonl", license=spec.data.license, sha256="c" * 64, train_examples=1,
                dev_examples=1, eval_examples=1,
            ),
            spec_sha256=hashlib.sha256(folder.spec.read_bytes()).hexdigest(),
            code_version="seodang 0", torch_version="none", seed=spec.seed,
            student_sha256=folder_sha256(folder.finished("student")),
        ),
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
