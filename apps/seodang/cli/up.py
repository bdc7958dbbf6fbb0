"""`seodang up`: the mesh, kept running until it is told to stop."""

from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.live import Live

from seodang.base.errors import InvalidInput
from seodang.cli.board import board
from seodang.cli.members import MEMBERS
from seodang.cli.mesh import Mesh, MeshConfig, State, select
from seodang.cli.stopping import forever


async def run_up(names: list[str], folder: Path, free_ports: bool, console: Console) -> None:
    """Keeps the members of those names running (all when none is given) and shows how they stand: as a table on a
    terminal, as a line for each change in a log.

    Raises:
        InvalidInput: no member has such a name.
    """
    known = [member.name for member in MEMBERS]
    if strangers := sorted(set(names) - set(known)):
        raise InvalidInput(f"no service is called {', '.join(strangers)}: there are {', '.join(known)}")

    def tell(name: str, state: State) -> None:
        if not console.is_terminal:
            console.print(f"{name} {mesh.addresses[name]} {state.value}", highlight=False, soft_wrap=True)

    mesh = Mesh(select(MEMBERS, names), MeshConfig(folder=folder, free_ports=free_ports), tell)
    table = Live(console=console, get_renderable=lambda: board(mesh), refresh_per_second=4)
    with table if console.is_terminal else nullcontext():
        async with mesh:
            console.print("The mesh is up. Ctrl-C stops it.")
            await forever()
