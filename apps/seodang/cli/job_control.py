"""`seodang jobs`: what is asked of a distillation server, and what is shown of its answers."""

import uuid
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seodang.api.distill.v1 import distill_pb2, job_pb2
from seodang.cli.contestants import measurement_table
from seodang.cli.jobs import follow, read_spec
from seodang.client import AsyncClient

_PAGE = 50


async def check_job(address: str, spec: Path, console: Console) -> None:
    """Says whether the server would take a job."""
    request = distill_pb2.CreateJobRequest(request_id=str(uuid.uuid4()), spec=read_spec(spec), validate_only=True)
    async with AsyncClient(address) as client:
        await client.distillation.CreateJob(request)
    console.print(f"{spec} can be started.", soft_wrap=True)


async def start_job(address: str, spec: Path, request_id: str, detach: bool, console: Console) -> None:
    """Starts a job, and follows it unless ``detach``."""
    request = distill_pb2.CreateJobRequest(request_id=request_id or str(uuid.uuid4()), spec=read_spec(spec))
    async with AsyncClient(address) as client:
        job = (await client.distillation.CreateJob(request)).job
        await _go_on(client, job, detach, console)


async def watch_job(address: str, name: str, console: Console) -> None:
    """Follows a job."""
    async with AsyncClient(address) as client:
        job = (await client.distillation.GetJob(distill_pb2.GetJobRequest(name=_full(name)))).job
        await _show(client, job, console)


async def list_jobs(address: str, console: Console) -> None:
    """Shows the newest jobs."""
    async with AsyncClient(address) as client:
        answer = await client.distillation.ListJobs(distill_pb2.ListJobsRequest(page_size=_PAGE))
    console.print(_jobs_table(answer.jobs))
    if answer.next_page_token:
        console.print(f"Only the newest {_PAGE} are shown.")


async def cancel_job(address: str, name: str, console: Console) -> None:
    """Asks a job to stop."""
    async with AsyncClient(address) as client:
        job = (await client.distillation.CancelJob(distill_pb2.CancelJobRequest(name=_full(name)))).job
    console.print(f"{job.name}: {_state(job)}. `seodang jobs resume {job.name}` goes on.", soft_wrap=True)


async def resume_job(address: str, name: str, detach: bool, console: Console) -> None:
    """Takes a job up again, and follows it unless ``detach``."""
    async with AsyncClient(address) as client:
        job = (await client.distillation.ResumeJob(distill_pb2.ResumeJobRequest(name=_full(name)))).job
        await _go_on(client, job, detach, console)


async def _go_on(client: AsyncClient, job: job_pb2.Job, detach: bool, console: Console) -> None:
    console.print(f"{job.name} goes on without this command: `seodang jobs watch {job.name}`", soft_wrap=True)
    if not detach:
        await _show(client, job, console)


async def _show(client: AsyncClient, job: job_pb2.Job, console: Console) -> None:
    """Follows a job, and shows what it measured and whether it passed its gate."""
    result = (await follow(client, job, console)).job.result
    if result.measurements:
        console.print(measurement_table(result.measurements))
    for check in result.verdict.checks:
        mark = "[green]✓[/green]" if check.passed else "[bold red]✗[/bold red]"
        console.print(f"{mark} gate: {check.name} {check.value:.4g}, threshold {check.threshold:.4g}")
    console.print(f"{result.version}: `seodang download {result.version}`", soft_wrap=True)


def _jobs_table(jobs: Iterable[job_pb2.Job]) -> Table:
    """Jobs as a table."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("job", "student", "made", "state", ""):
        table.add_column(heading, header_style="bold", overflow="fold")
    for job in jobs:
        made = f"{job.create_time.ToDatetime():%Y-%m-%d %H:%M}"
        table.add_row(job.name, job.spec.student, made, _state(job), job.state_message)
    return table


def _state(job: job_pb2.Job) -> str:
    return job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_").lower()


def _full(name: str) -> str:
    return name if name.startswith("jobs/") else f"jobs/{name}"
