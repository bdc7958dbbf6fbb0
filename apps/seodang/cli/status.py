"""`seodang status` and `seodang ready`: is it there, and does it serve?"""

import asyncio

from rich.console import Console
from rich.table import Table

from seodang.base.errors import Unavailable
from seodang.base.ports import local
from seodang.cli.members import MEMBERS, Probe
from seodang.cli.probe import is_ready


async def show_status(console: Console) -> None:
    """A line a service of the mesh on its usual port."""
    ready = await asyncio.gather(*(is_ready(member.probe, local(member.port)) for member in MEMBERS))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("service", "address", "state"):
        table.add_column(heading, header_style="bold")
    for member, serves in zip(MEMBERS, ready, strict=True):
        table.add_row(member.name, local(member.port), "[green]ready" if serves else "[red]no answer")
    console.print(table)
    if not any(ready):
        console.print("Nothing is up on the usual ports: start the mesh with `seodang up`.")


async def require_ready(address: str) -> None:
    """Returns if the gRPC server at host:port serves.

    Raises:
        Unavailable: it does not.
    """
    if not await is_ready(Probe.GRPC, address):
        raise Unavailable(f"no server serves at {address}")
