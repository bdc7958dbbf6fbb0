"""The rules of the house, as checks: a rule that no check enforces decays."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE_ROOTS = ("libs", "services", "apps")
MODULE_CEILING_LINES = 400
MODULE_MEDIAN_LINES = 120
FUNCTION_CEILING_LINES = 60
EMPTY_NAMES = {"utils.py", "helpers.py", "common.py", "misc.py", "util.py"}


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def _modules() -> list[Path]:
    return [path for path in _tracked(*(f"{root}/*.py" for root in SOURCE_ROOTS)) if "/api/" not in str(path)]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


MODULES = _modules()


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_no_longer_than_the_ceiling(path: Path) -> None:
    assert path.read_text().count("\n") <= MODULE_CEILING_LINES


def test_the_median_module_is_short() -> None:
    lengths = sorted(path.read_text().count("\n") for path in MODULES)
    assert lengths[len(lengths) // 2] <= MODULE_MEDIAN_LINES


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_function_is_no_longer_than_the_ceiling(path: Path) -> None:
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_CEILING_LINES
    ]
    assert long == []


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_is_named_by_what_it_holds(path: Path) -> None:
    assert path.name not in EMPTY_NAMES


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("root", SOURCE_ROOTS)
def test_the_namespace_package_has_no_init(root: str) -> None:
    assert not (ROOT / root / "seodang" / "__init__.py").exists()


PACKAGES = [path for path in MODULES if path.name == "__init__.py" and len(path.read_text().splitlines()) > 1]


@pytest.mark.parametrize("path", PACKAGES, ids=_name)
def test_a_package_that_exports_says_what(path: Path) -> None:
    tree = ast.parse(path.read_text())
    imported = {
        alias.asname or alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    exported = {
        constant.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        and any(isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets)
        for constant in ast.walk(node.value)
        if isinstance(constant, ast.Constant)
    }
    assert imported == exported


TORCH_FREE = [
    "seodang.client",
    "seodang.rpc",
    "seodang.worker",
    "seodang.tasks",
    "seodang.inference",
    "seodang.capture",
    "seodang.provenance",
    "seodang.teacher.__main__",
    "seodang.student.__main__",
    "seodang.distill.__main__",
    "seodang.adapters.voice.__main__",
    "seodang.adapters.search.__main__",
    "seodang.adapters.messaging.__main__",
    "seodang.adapters.robotics.__main__",
    "seodang.gateway.__main__",
    "seodang.console.__main__",
    "seodang.cli.commands",
]


@pytest.mark.parametrize("module", TORCH_FREE)
def test_it_imports_where_torch_is_not_installed(module: str) -> None:
    program = f"import sys; sys.modules['torch'] = None; import {module}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# The text of a rule must not break the rule, so the patterns are put together here.
PRIVATE = re.compile(
    "|".join(["/" + "work/", "/" + "farm/", "/tmp/" + "bash", r"index-url\s*=?\s*http", "pypi" + r"\.org"])
)


def test_no_file_names_a_machine_or_a_registry() -> None:
    named = []
    for path in _tracked():
        if path.suffix in {".safetensors", ".png"} or path.stat().st_size > 2_000_000:
            continue
        text = path.read_text(errors="replace")
        named += [f"{_name(path)}:{n}" for n, line in enumerate(text.splitlines(), 1) if PRIVATE.search(line)]
    assert named == []


MARKDOWN = _tracked("*.md")


@pytest.mark.parametrize("path", MARKDOWN, ids=_name)
def test_the_links_of_a_page_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text())
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (path.parent / target).exists()] == []
