"""Mesh: every server's health, version and load, and the models that they hold, live."""

from typing import Final

import streamlit as st

from seodang.api.inference.v1 import model_pb2
from seodang.console import figures, tables
from seodang.console.servers import Health, Held, Mesh, Status

_HEALTH: Final = {
    Health.SERVING: tables.GREEN,
    Health.STARTING: tables.BLUE,
    Health.DRAINING: tables.ORANGE,
    Health.DOWN: tables.RED,
}
_STATES: Final = {
    "ready": tables.GREEN,
    "on demand": tables.GREY,
    "loading": tables.BLUE,
    "recovering": tables.ORANGE,
    "unloading": tables.ORANGE,
    "failed": tables.RED,
}


def show(mesh: Mesh) -> None:
    """Draws the page and refreshes it by itself."""
    st.title("Mesh")
    st.fragment(lambda: _live(mesh), run_every=mesh.settings.refresh_s)()


def _live(mesh: Mesh) -> None:
    statuses = mesh.statuses()
    down = [status for status in statuses if status.health is Health.DOWN]
    held, _ = mesh.models()
    _summary(statuses, held)
    st.subheader("Servers")
    tables.table([_server_row(status) for status in statuses], "servers", _HEALTH)
    if down:
        _what_to_do(down)
    st.subheader("Models")
    if held:
        tables.table([_model_row(entry) for entry in held], "models", _STATES, ["Cache in use"])
    else:
        st.info("No inference server answers, so there is no model to show.", icon=":material/info:")


def _summary(statuses: list[Status], held: list[Held]) -> None:
    serving = sum(status.health is Health.SERVING for status in statuses)
    cells = st.columns(4)
    cells[0].metric("Servers serving", f"{serving} of {len(statuses)}", border=True)
    cells[1].metric("Models", len(held), border=True)
    cells[2].metric("Requests running", sum(entry.model.running_requests for entry in held), border=True)
    cells[3].metric("Requests waiting", sum(entry.model.waiting_requests for entry in held), border=True)


def _what_to_do(down: list[Status]) -> None:
    lines = [f"- **{status.server.name}**: `{status.server.command}`" for status in down]
    which = "A server is" if len(down) == 1 else f"{len(down)} servers are"
    st.error(
        "\n".join([f"{which} down. `seodang up` starts them all; one alone is started with", "", *lines]),
        icon=":material/cloud_off:",
    )


def _server_row(status: Status) -> dict[str, object]:
    up = status.health is not Health.DOWN
    return {
        "Server": status.server.name,
        "State": status.health.value,
        "Address": status.server.address,
        "Version": status.info.version,
        "Up for": figures.since(status.info.start_time),
        "Calls now": status.load.calls_in_flight if up else None,
        "Calls": status.load.calls_started if up else None,
        "Failed": status.load.calls_failed if up else None,
        "Memory": figures.size(status.load.resident_bytes) if up else "",
    }


def _model_row(entry: Held) -> dict[str, object]:
    model = entry.model
    return {
        "Model": entry.short_name,
        "Server": entry.server.name,
        "State": model_pb2.ModelState.Name(model.state).removeprefix("MODEL_STATE_").lower().replace("_", " "),
        "Architecture": model.architecture,
        "Parameters": figures.count(model.total_parameters),
        "Active": figures.count(model.active_parameters),
        "Context": model.context_tokens,
        "Type": model.dtype,
        "Layout": _layout(model.layout),
        "Cache in use": 100 * model.cache_utilisation,
        "Running": model.running_requests,
        "Waiting": model.waiting_requests,
    }


def _layout(layout: model_pb2.Layout) -> str:
    parts = [("TP", layout.tensor_parallel), ("EP", layout.expert_parallel), ("PP", layout.pipeline_parallel)]
    return " · ".join(f"{name} {degree}" for name, degree in parts if degree > 1) or "one process"
