"""The commands of `seodang prompts`."""

from typing import Annotated

import typer
from rich.console import Console

from seodang.api.capture.v1 import capture_pb2
from seodang.base import ports
from seodang.base.ports import local
from seodang.cli.prompts import forget_subject, freeze_prompts, list_policies, list_prompts, set_policy, stop_keeping
from seodang.cli.stopping import run_until_stopped

app = typer.Typer(
    help="Captured traffic: allow it, freeze it as a job's data, list it, forget it.", no_args_is_help=True
)
console = Console()

Address = Annotated[str, typer.Option(help="host:port of the distillation server.")]
Tenant = Annotated[str, typer.Argument(help="Name of a gateway's key, or an adapter's SEODANG_..._CAPTURE_TENANT.")]
SERVER = local(ports.DISTILL)


@app.command()
def allow(
    tenant: Tenant,
    consent: Annotated[str, typer.Option(help="What people agreed to, such as 'privacy notice of 2026-03'.")],
    share: Annotated[float, typer.Option(help="Share of the exchanges to keep, above 0 and at most 1.")] = 1.0,
    days: Annotated[int, typer.Option(help="Days until they are forgotten; 0: until somebody forgets them.")] = 90,
    address: Address = SERVER,
) -> None:
    """Keep what people of a tenant agree to share."""
    policy = capture_pb2.Policy(tenant=tenant, enabled=True, sample_rate=share, retention_days=days, consent=consent)
    run_until_stopped(set_policy(address, policy, console), console)


@app.command()
def stop(
    tenant: Tenant,
    days: Annotated[
        int | None, typer.Option(help="Days until what is kept is forgotten, instead of those agreed to; 0: never.")
    ] = None,
    address: Address = SERVER,
) -> None:
    """Keep nothing more of a tenant."""
    run_until_stopped(stop_keeping(address, tenant, days, console), console)


@app.command()
def policies(address: Address = SERVER) -> None:
    """Show of whom something may be kept, and what they agreed to."""
    run_until_stopped(list_policies(address, console), console)


@app.command()
def freeze(
    dataset: Annotated[str, typer.Argument(help="Dataset, which has the name of the model that was asked.")],
    address: Address = SERVER,
) -> None:
    """Make an immutable version of what is kept, for a job to name."""
    run_until_stopped(freeze_prompts(address, dataset, console), console)


@app.command("list")
def list_(
    dataset: Annotated[str, typer.Argument(help="Only this dataset.")] = "",
    address: Address = SERVER,
) -> None:
    """Show the frozen versions."""
    run_until_stopped(list_prompts(address, dataset, console), console)


@app.command()
def forget(
    tenant: Tenant,
    subject: Annotated[str, typer.Option(help="The person, as the client named them; '' for all without a name.")],
    refuse: Annotated[bool | None, typer.Option("--refuse/--accept", help="Whether to keep nothing more.")] = None,
    address: Address = SERVER,
) -> None:
    """Forget a person, and withdraw the versions that hold something of them."""
    request = capture_pb2.EraseSubjectRequest(tenant=tenant, subject=subject, refuse=refuse)
    run_until_stopped(forget_subject(address, request, console), console)
