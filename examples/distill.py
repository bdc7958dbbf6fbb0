"""Distil a student from a teacher, watch it learn, and ask the registry what came out.

    python examples/distill.py --student my-home --corpus home --steps 200

The work is done by the distillation server; this only asks for it, and may be stopped and started again at any time:
with --watch jobs/NAME it goes on watching.
"""

import argparse
import uuid

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.api.registry.v1 import registry_pb2
from seodang.base import ports
from seodang.base.errors import SeodangError
from seodang.client import Client
from seodang.rpc import from_fault

DAY_S = 86_400.0


def job_spec(arguments: argparse.Namespace) -> job_pb2.JobSpec:
    """A student of the default shape, beside one that is trained without the teacher, and a gate that compares them."""
    without_teacher = job_pb2.Recipe(kind=job_pb2.Recipe.KIND_NO_TEACHER)
    return job_pb2.JobSpec(
        student=arguments.student,
        teachers=[job_pb2.Teacher(model=arguments.teacher)],
        data=job_pb2.DataSpec(corpus=arguments.corpus, language=arguments.language),
        budget=job_pb2.Budget(steps=arguments.steps),
        baselines=[job_pb2.Baseline(name="no-teacher", recipe=without_teacher)],
        gate=job_pb2.Gate(max_points_below_teacher=5, beat_baselines=True, promote_to="production"),
    )


def watch(client: Client, name: str) -> job_pb2.Job:
    """Prints what happens to a job until it has ended."""
    job = job_pb2.Job()
    for event in client.distillation.WatchJob(distill_pb2.WatchJobRequest(name=name), timeout=DAY_S):
        if event.HasField("curve_point"):
            point = event.curve_point
            if point.HasField("eval_loss"):
                print(f"{point.subject:12} step {point.step:5}  loss {point.loss:.4f}  held out {point.eval_loss:.4f}")
            continue
        if event.job.state_message != job.state_message:
            print(f"{event.job.name}: {event.job.state_message}")
        job = event.job
    if job.HasField("fault"):
        raise from_fault(job.fault)
    return job


def report(client: Client, job: job_pb2.Job) -> None:
    """Prints how the contestants did, and which version an application gets now."""
    for each in job.result.measurements:
        print(f"{each.subject:12} {each.metric} {each.task_score:.3f}  ({each.parameters:,} parameters)")
    for check in job.result.verdict.checks:
        print(
            f"gate: {check.name} {check.value:.3g}, threshold {check.threshold:.3g}: {'ok' if check.passed else 'no'}"
        )
    request = registry_pb2.ResolveModelRequest(name=f"models/{job.spec.student}")
    version = client.registry.ResolveModel(request).version
    print(f"{version.name} {', '.join(version.aliases)}  {version.total_bytes:,} bytes  sha256 {version.sha256[:16]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--address", default=ports.local(ports.DISTILL), help="host:port of the distillation server")
    parser.add_argument("--teacher", default="models/teacher-mini", help="the model that teaches")
    parser.add_argument("--student", default="my-home", help="the model that the student becomes a version of")
    parser.add_argument("--corpus", default="home", help="what it learns from; ListCorpora tells which there are")
    parser.add_argument("--language", default="", choices=("", "ko", "en"), help="empty takes all")
    parser.add_argument("--steps", type=int, default=400, help="optimiser steps")
    parser.add_argument("--watch", default="", metavar="jobs/NAME", help="watch this job instead of starting one")
    arguments = parser.parse_args()
    with Client(arguments.address) as client:
        name = arguments.watch
        if not name:
            request = distill_pb2.CreateJobRequest(request_id=str(uuid.uuid4()), spec=job_spec(arguments))
            name = client.distillation.CreateJob(request).job.name
        job = watch(client, name)
        if job.state == job_pb2.JOB_STATE_SUCCEEDED:
            report(client, job)


if __name__ == "__main__":
    try:
        main()
    except SeodangError as error:
        raise SystemExit(f"{type(error).__name__}: {error.message}") from error
