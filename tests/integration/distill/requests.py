"""Requests that tests of the distillation server send, and the waiting for what comes of them."""

import uuid
from typing import Any

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.client import AsyncClient

ENDED = (job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_FAILED, job_pb2.JOB_STATE_CANCELLED)


def job_spec(steps: int = 20, **fields: Any) -> job_pb2.JobSpec:
    """A small valid job; ``labels`` tell the worker of the tests how to behave."""
    given: dict[str, Any] = {
        "student": "robot",
        "teachers": [job_pb2.Teacher(model="models/teacher")],
        "data": job_pb2.DataSpec(file="good.jsonl", license="MIT"),
        "budget": job_pb2.Budget(steps=steps, checkpoint_steps=10),
    }
    return job_pb2.JobSpec(**given | fields)


async def create(client: AsyncClient, spec: job_pb2.JobSpec, request_id: str = "") -> job_pb2.Job:
    request = distill_pb2.CreateJobRequest(request_id=request_id or str(uuid.uuid4()), spec=spec)
    return (await client.distillation.CreateJob(request, timeout=180)).job


async def get(client: AsyncClient, name: str) -> job_pb2.Job:
    return (await client.distillation.GetJob(distill_pb2.GetJobRequest(name=name))).job


async def cancel(client: AsyncClient, name: str) -> job_pb2.Job:
    return (await client.distillation.CancelJob(distill_pb2.CancelJobRequest(name=name))).job


async def resume(client: AsyncClient, name: str) -> job_pb2.Job:
    return (await client.distillation.ResumeJob(distill_pb2.ResumeJobRequest(name=name))).job


async def watch(
    client: AsyncClient, name: str, skip: int = 0, timeout_s: float = 60.0
) -> tuple[list[job_pb2.Job], list[job_pb2.CurvePoint]]:
    """Everything that the stream tells, to its end."""
    jobs, points = [], []
    request = distill_pb2.WatchJobRequest(name=name, skip_curve_points=skip)
    async for event in client.distillation.WatchJob(request, timeout=timeout_s):
        if event.HasField("job"):
            jobs.append(event.job)
        else:
            points.append(event.curve_point)
    return jobs, points


async def finished(client: AsyncClient, name: str) -> job_pb2.Job:
    jobs, _ = await watch(client, name)
    return jobs[-1]


async def run(client: AsyncClient, spec: job_pb2.JobSpec) -> job_pb2.Job:
    """Creates a job and waits for its end."""
    return await finished(client, (await create(client, spec)).name)


async def until_step(client: AsyncClient, name: str, step: int, timeout_s: float = 60.0) -> None:
    """Waits until the job's curve has come to ``step``."""
    request = distill_pb2.WatchJobRequest(name=name)
    async for event in client.distillation.WatchJob(request, timeout=timeout_s):
        if event.HasField("curve_point") and event.curve_point.step >= step:
            return
    raise AssertionError(f"{name} ended before step {step}")
