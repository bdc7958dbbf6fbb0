"""The table of a running mesh, for people."""

from rich.table import Table

from seodang.cli.members import Probe
from seodang.cli.mesh import Mesh, State

_STYLE = {State.STARTING: "yellow", State.READY: "green", State.RESTARTING: "red", State.STOPPED: "dim"}


def board(mesh: Mesh) -> Table:
    """One row a process: its name, where it listens, where it stands."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("service", "address", "state", "log"):
        table.add_column(heading, header_style="bold")
    for member in mesh.members:
        state = mesh.states[member.name]
        address = mesh.addresses.get(member.name, "")
        shown = address if member.probe is Probe.GRPC else f"http://{address}"
        table.add_row(member.name, shown, f"[{_STYLE[state]}]{state.value}", str(mesh.log_path(member.name)))
    return table
