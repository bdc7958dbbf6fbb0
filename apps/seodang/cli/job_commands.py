"""The commands of `seodang jobs`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from seodang.base import ports
from seodang.base.ports import local
from seodang.cli.job_control import cancel_job, check_job, list_jobs, resume_job, start_job, watch_job
from seodang.cli.stopping import run_until_stopped

app = typer.Typer(help="Distillation jobs: start, follow, list, cancel and resume them.", no_args_is_help=True)
console = Console()

Address = Annotated[str, typer.Option(help="host:port of the distillation server.")]
Spec = Annotated[Path, typer.Argument(help="File with a JobSpec as JSON, such as those in models/students/jobs.")]
Job = Annotated[str, typer.Argument(help="Name of a job, jobs/ID, or its id.")]
Detach = Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")]
SERVER = local(ports.DISTILL)


@app.command()
def check(spec: Spec, address: Address = SERVER) -> None:
    """Check everything that can be known of a job, and start nothing."""
    run_until_stopped(check_job(address, spec, console), console)


@app.command()
def start(
    spec: Spec,
    request_id: Annotated[str, typer.Option(help="A UUID: the same one again is the same job.")] = "",
    detach: Detach = False,
    address: Address = SERVER,
) -> None:
    """Start a job and follow it to its end; it goes on without this command."""
    run_until_stopped(start_job(address, spec, request_id, detach, console), console)


@app.command()
def watch(job: Job, address: Address = SERVER) -> None:
    """Follow a job to its end, and tell what it measured."""
    run_until_stopped(watch_job(address, job, console), console)


@app.command("list")
def list_(address: Address = SERVER) -> None:
    """Show the jobs, newest first."""
    run_until_stopped(list_jobs(address, console), console)


@app.command()
def cancel(job: Job, address: Address = SERVER) -> None:
    """Stop a job; what it has made stays, so that it can go on."""
    run_until_stopped(cancel_job(address, job, console), console)


@app.command()
def resume(job: Job, detach: Detach = False, address: Address = SERVER) -> None:
    """Take a cancelled or failed job up from its last durable step, and follow it."""
    run_until_stopped(resume_job(address, job, detach, console), console)
