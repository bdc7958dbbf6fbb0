"""`seodang lineage`: draws what made a student, from its lineage.json."""

from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from seodang.provenance import FIDELITY_PAGE, LineageGraph, dot, lineage_graph, mermaid, read_provenance


class Drawing(StrEnum):
    """How it is drawn."""

    TREE = "tree"
    MERMAID = "mermaid"
    DOT = "dot"


def draw_lineage(folder: Path, drawing: Drawing, console: Console) -> None:
    """Prints the lineage.

    Raises:
        NotFound: the student does not say what made it.
        Conflict: its lineage.json is none of this version.
    """
    graph = lineage_graph(read_provenance(folder), report=(folder / FIDELITY_PAGE).is_file())
    match drawing:
        case Drawing.TREE:
            console.print(_tree(graph))
        case Drawing.MERMAID:
            console.out(mermaid(graph), end="", highlight=False)
        case Drawing.DOT:
            console.out(dot(graph), end="", highlight=False)


def _tree(graph: LineageGraph) -> Tree:
    """The student with its evaluation, and below it what it came from."""
    tree = Tree(_label(graph.student.title, "bold", graph.student.facts))
    tree.add(_label(f"evaluation: {graph.evaluation.title}", "cyan", graph.evaluation.facts))
    for node in graph.ancestors:
        tree.add(_label(f"{node.kind}: {node.title}", "green", node.facts))
    return tree


def _label(title: str, style: str, facts: tuple[str, ...]) -> Text:
    return Text.assemble((title, style), *(part for fact in facts for part in ("\n", (fact, "dim"))))
