"""Registry: versions, aliases, what made a version; promote and roll back."""

from collections.abc import Iterator
from typing import Final

import streamlit as st

from seodang.api.registry.v1 import registry_pb2
from seodang.console import failures, figures, tables
from seodang.console.servers import Mesh, Server

_PAGE: Final = 200
_COLOURS: Final = {
    registry_pb2.LineageNode.KIND_TEACHER: "#3B5B92",
    registry_pb2.LineageNode.KIND_STUDENT: "#0B6E4F",
    registry_pb2.LineageNode.KIND_DATA: "#C98A1B",
    registry_pb2.LineageNode.KIND_EVALUATION: "#6F5B8C",
}


def show(mesh: Mesh) -> None:
    """Draws the page."""
    st.title("Registry")
    server = mesh["distill"]
    with failures.shown(server):
        versions = list(_versions(server, mesh.settings.timeout_s))
        if not versions:
            st.info(
                "Nothing is published yet: a job that passes its gate publishes its student.", icon=":material/info:"
            )
            return
        tables.table([_row(version) for version in versions], "versions")
        left, right = st.columns(2, gap="large")
        with left:
            _promote(server, versions)
        with right:
            _roll_back(server, versions)
        _lineage(server, versions)


def _versions(server: Server, timeout_s: float) -> Iterator[registry_pb2.Version]:
    token = ""
    while True:
        request = registry_pb2.ListVersionsRequest(page_size=_PAGE, page_token=token)
        page = server.client.registry.ListVersions(request, timeout=timeout_s)
        yield from page.versions
        token = page.next_page_token
        if not token:
            return


def _row(version: registry_pb2.Version) -> dict[str, object]:
    return {
        "Version": _short(version.name),
        "Aliases": ", ".join(f"@{alias.rpartition('@')[2]}" for alias in version.aliases),
        "Gate": "passed" if version.passed_gate else "not passed",
        "Parameters": figures.count(version.parameters),
        "Size": figures.size(version.total_bytes),
        "Age": figures.since(version.create_time),
        "Job": version.job,
        "SHA-256": version.sha256[:12],
        "Scores": ", ".join(f"{name} {value:.3f}" for name, value in sorted(version.scores.items())),
    }


def _promote(server: Server, versions: list[registry_pb2.Version]) -> None:
    with st.form("promote", border=True):
        st.subheader("Promote", anchor=False)
        names = [version.name for version in versions]
        name = st.selectbox("Version", names, format_func=_short)
        alias = st.text_input("Alias", "production")
        if st.form_submit_button("Promote", type="primary", icon=":material/arrow_upward:"):
            with failures.shown(server):
                request = registry_pb2.PromoteVersionRequest(version=name, alias=alias.strip())
                moved = server.client.registry.PromoteVersion(request).alias
                st.success(f"`{moved.name}` now stands for `{moved.version}`.", icon=":material/check_circle:")


def _roll_back(server: Server, versions: list[registry_pb2.Version]) -> None:
    aliases = sorted({alias for version in versions for alias in version.aliases})
    with st.form("roll back", border=True):
        st.subheader("Roll back", anchor=False)
        name = st.selectbox("Alias", aliases, format_func=_short, placeholder="no alias is set")
        st.caption("The alias goes back to the version that it stood for before.")
        if st.form_submit_button("Roll back", icon=":material/undo:", disabled=not aliases):
            with failures.shown(server):
                moved = server.client.registry.RollbackAlias(registry_pb2.RollbackAliasRequest(name=name)).alias
                st.success(f"`{moved.name}` stands for `{moved.version}` again.", icon=":material/check_circle:")


def _lineage(server: Server, versions: list[registry_pb2.Version]) -> None:
    st.subheader("What made it", anchor=False)
    name = st.selectbox("Version", [version.name for version in versions], format_func=_short, key="lineage")
    with failures.shown(server):
        graph = server.client.registry.GetLineage(registry_pb2.GetLineageRequest(version=name))
        st.graphviz_chart(_dot(graph))
        for node in graph.nodes:
            with st.expander(f"{_kind(node)}: {node.id}"):
                st.json(dict(node.facts))


def _dot(graph: registry_pb2.GetLineageResponse) -> str:
    lines = ["digraph { rankdir=LR; bgcolor=transparent", 'node [shape=box style="rounded,filled" fontname=Helvetica]']
    for node in graph.nodes:
        colour = _COLOURS.get(node.kind, "#6B7178")
        label = _quoted(f"{_kind(node)}\n{node.id}")
        lines.append(f'{_quoted(node.id)} [label={label} color="{colour}" fillcolor="{colour}22" fontcolor="#22262B"]')
    for edge in graph.edges:
        lines.append(f'{_quoted(getattr(edge, "from"))} -> {_quoted(edge.to)} [color="#6B7178"]')
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _kind(node: registry_pb2.LineageNode) -> str:
    return registry_pb2.LineageNode.Kind.Name(node.kind).removeprefix("KIND_").lower()


def _short(name: str | None) -> str:
    return (name or "").removeprefix("models/")
