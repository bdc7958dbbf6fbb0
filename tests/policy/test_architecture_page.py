"""docs/architecture.md can be followed with a finger: every step names a file and a function that exist."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "architecture.md"

# A step names code as [`Class.method`](../path/to/file.py).
STEPS = re.findall(r"\[`([\w.]+)`\]\((\.\./[\w/.-]+\.py)\)", PAGE.read_text())


def _definitions(tree: ast.Module) -> set[str]:
    found = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found.add(node.name)
            found |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return found


def test_the_page_follows_enough_steps() -> None:
    assert len(STEPS) >= 20


@pytest.mark.parametrize(("name", "target"), STEPS, ids=[f"{target[3:]}:{name}" for name, target in STEPS])
def test_a_step_names_code_that_exists(name: str, target: str) -> None:
    assert name in _definitions(ast.parse((PAGE.parent / target).read_text()))
