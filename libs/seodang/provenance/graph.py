"""The lineage of a student as a graph: what went into it, and what came of it; as Mermaid or Graphviz text."""

from dataclasses import dataclass
from typing import Final

from seodang.distillation.result import Lineage
from seodang.distillation.spec import STUDENT
from seodang.provenance.files import FIDELITY_PAGE
from seodang.provenance.record import Provenance

_SHAPES: Final = {"teacher": ("[[", "]]"), "data": ("[(", ")]"), "student": ("([", "])")}


@dataclass(frozen=True)
class Node:
    """``kind`` is also its name in the text; ``title`` and ``facts`` are for people."""

    id: str
    kind: str
    title: str
    facts: tuple[str, ...]


@dataclass(frozen=True)
class LineageGraph:
    """Ancestors, the student, and its evaluation."""

    ancestors: tuple[Node, ...]
    student: Node
    evaluation: Node

    @property
    def nodes(self) -> tuple[Node, ...]:
        """In the order in which they came to be."""
        return (*self.ancestors, self.student, self.evaluation)

    @property
    def edges(self) -> tuple[tuple[Node, Node], ...]:
        """What went into what."""
        return (*((each, self.student) for each in self.ancestors), (self.student, self.evaluation))


def lineage_graph(provenance: Provenance, *, report: bool = False) -> LineageGraph:
    """The graph of one student.

    Args:
        report: whether its fidelity report lies beside it; students from before there were any have none.
    """
    lineage, data = provenance.lineage, provenance.lineage.data
    teachers = [
        Node(
            f"teacher{number}",
            "teacher",
            each.model,
            (
                f"{each.architecture}, {each.parameters:,} parameters, weight {each.weight:.3g}",
                f"weights {each.weights_sha256[:16]}",
                f"tokenizer {each.tokenizer_sha256[:16]}",
            ),
        )
        for number, each in enumerate(lineage.teachers)
    ]
    examples = f"{data.train_examples:,} + {data.dev_examples:,} + {data.eval_examples:,} examples"
    bases = [] if lineage.base is None else [lineage.base]
    others = [
        *(Node("base", "base", each.name, (f"sha256 {each.sha256[:16]}",)) for each in bases),
        Node("data", "data", data.source, (data.license, examples, f"frozen {data.sha256[:16]}")),
        Node("recipe", "recipe", provenance.job, _recipe(lineage)),
        Node("code", "code", lineage.code_version, (f"torch {lineage.torch_version}",)),
    ]
    measured = next(each for each in provenance.measurements if each.subject == STUDENT)
    student = Node(
        "student",
        "student",
        provenance.student,
        (f"{measured.parameters:,} parameters", f"sha256 {lineage.student_sha256[:16]}", *_own_tokenizer(lineage)),
    )
    return LineageGraph((*teachers, *others), student, _evaluation(provenance, report))


def mermaid(graph: LineageGraph) -> str:
    """A flow chart that GitHub and most wikis draw."""
    lines = ["flowchart LR"]
    for node in graph.nodes:
        begin, end = _SHAPES.get(node.kind, ("[", "]"))
        text = "<br/>".join(_plain(line) for line in (node.title, *node.facts))
        lines.append(f'    {node.id}{begin}"{text}"{end}')
    lines += [f"    {source.id} --> {target.id}" for source, target in graph.edges]
    return "\n".join(lines) + "\n"


def dot(graph: LineageGraph) -> str:
    """A digraph for Graphviz."""
    lines = ["digraph lineage {", "    rankdir=LR;", '    node [shape=box, fontname="sans-serif"];']
    for node in graph.nodes:
        text = "\\n".join(line.replace("\\", "\\\\").replace('"', '\\"') for line in (node.title, *node.facts))
        lines.append(f'    {node.id} [label="{text}"];')
    lines += [f"    {source.id} -> {target.id};" for source, target in graph.edges]
    return "\n".join([*lines, "}"]) + "\n"


def _recipe(lineage: Lineage) -> tuple[str, ...]:
    return (f"job.json {lineage.spec_sha256[:16]}", f"seed {lineage.seed}", f"trained in {lineage.training_dtype}")


def _own_tokenizer(lineage: Lineage) -> tuple[str, ...]:
    return (f"own tokenizer {own[:16]}",) if (own := lineage.student_tokenizer_sha256) else ()


def _evaluation(provenance: Provenance, report: bool) -> Node:
    facts = [
        f"{each.subject}: {each.metric} {100 * each.task_score:.1f} % "
        f"({100 * each.task_score_low:.1f} to {100 * each.task_score_high:.1f})"
        for each in provenance.measurements
    ]
    title = "passed its gate" if provenance.verdict.passed else "did not pass its gate"
    return Node("evaluation", "evaluation", title, (*facts, *([f"report in {FIDELITY_PAGE}"] if report else [])))


def _plain(text: str) -> str:
    """Text that cannot end a label of Mermaid, or become markup in it."""
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")
