"""docs/performance.md and its pictures, rendered from the results: the same results give the same page."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.patches
from matplotlib.figure import Figure

from benchmarks.result import RESULTS, Cell, Chart, Result

PAGE: Final = RESULTS.parents[1] / "docs" / "performance.md"
PICTURES: Final = PAGE.parent / "performance"

_INTRODUCTION: Final = """# Performance

Every number here comes from a run of a program in [`benchmarks/`](../benchmarks): it writes
[`benchmarks/results/`](../benchmarks/results), and `make bench` renders this page from there. A benchmark that is
not on the page has no result that we stand by yet. Processor time and peaks of memory repeat well; wall-clock times are
medians of interleaved runs and hold for the machine that is named under them.
"""
_COLOURS: Final = ("#2563eb", "#9ca3af", "#d97706", "#0d9488", "#9333ea", "#be123c")
_INK: Final = "#1f2937"
_GRID: Final = "#e5e7eb"
_SPELLINGS: Final = {"mb": "MB", "gb": "GB", "mib": "MiB", "gib": "GiB", "ndcg": "nDCG", "kl": "KL", "gflop": "GFLOP"}


def read_results(folder: Path = RESULTS) -> list[Result]:
    """All results of a folder, in order of name."""
    return [Result.read(path) for path in sorted(folder.glob("*.json"))]


def render(results: Sequence[Result]) -> str:
    """The page."""
    contents = "\n".join(f"- [{result.title}](#{_anchor(result.title)})" for result in results)
    return "\n".join([_INTRODUCTION, contents, "", *(_section(result) for result in results)])


def write_page(results: Sequence[Result], page: Path = PAGE, pictures: Path = PICTURES) -> None:
    """The page and its pictures; pictures that no result asks for any more go."""
    pictures.mkdir(parents=True, exist_ok=True)
    wanted = {picture_name(result, chart): (result, chart) for result in results for chart in result.charts}
    for stale in {path.name for path in pictures.glob("*.svg")} - wanted.keys():
        (pictures / stale).unlink()
    for name, (result, chart) in wanted.items():
        draw(result, chart, pictures / name)
    page.write_text(render(results))


def picture_name(result: Result, chart: Chart) -> str:
    """Ends in a digest of what is drawn, so that a picture of older numbers cannot pass for one of these."""
    drawn = json.dumps([chart.title, chart.value, _bars(result, chart)], ensure_ascii=False)
    return f"{result.name}-{chart.value}-{hashlib.sha256(drawn.encode()).hexdigest()[:8]}.svg"


def draw(result: Result, chart: Chart, path: Path) -> None:
    """One chart as a small SVG whose text stays text."""
    bars = _bars(result, chart)
    labels = list(dict.fromkeys(label for label, _, _ in bars))
    series = list(dict.fromkeys(name for _, name, _ in bars))
    thickness = 0.8 / max(len(series), 1)
    figure = Figure(figsize=(7.2, 1.1 + 0.26 * len(bars) + 0.12 * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    longest = max((value for _, _, value in bars), default=0)
    for label, name, value in bars:
        place = labels.index(label) + (series.index(name) - (len(series) - 1) / 2) * thickness
        colour = _COLOURS[series.index(name) % len(_COLOURS)]
        axes.barh(place, value, height=thickness * 0.86, color=colour)
        axes.text(value + longest * 0.01, place, _cell(value), va="center", fontsize=8, color=_INK)
    axes.set_yticks(range(len(labels)), labels, fontsize=9)
    axes.set_xlim(0, longest * 1.12 or 1)
    axes.set_xlabel(_heading(chart.value), fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="x", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, length=0, colors=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if chart.series is not None:
        swatches: list[Any] = [
            mpl.patches.Patch(color=_COLOURS[number % len(_COLOURS)], label=name) for number, name in enumerate(series)
        ]
        axes.set_ylabel(_heading(chart.label), fontsize=9)
        figure.legend(handles=swatches, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.suptitle(chart.title, fontsize=11, color=_INK, x=0.01, ha="left")
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": result.name}):
        figure.savefig(path, metadata={"Date": None})


def _bars(result: Result, chart: Chart) -> list[tuple[str, str, float]]:
    """Label, series and value of each bar, in order of the rows."""
    bars = []
    for row in result.rows:
        value = row.get(chart.value)
        if isinstance(value, int | float) and all(str(row.get(key)) == text for key, text in chart.where.items()):
            name = "" if chart.series is None else _cell(row[chart.series])
            bars.append((_cell(row[chart.label]), name, value))
    return bars


def _section(result: Result) -> str:
    parts = [f"## {result.title}", "", result.summary, ""]
    parts += [_table(result.rows), ""]
    for chart in result.charts:
        parts += [f"![{chart.title}](performance/{picture_name(result, chart)})", ""]
    machine = ", ".join(f"{_heading(key)} {_cell(cell)}" for key, cell in result.machine.items())
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    parts += [f"Measured on {result.measured_on}: {machine}. {versions}.", f"Repeat it: `{result.command}`", ""]
    return "\n".join(parts)


def _table(rows: Sequence[Any]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    texts = {column for column in columns if any(isinstance(row.get(column), str) for row in rows)}
    lines = [
        [_heading(column) for column in columns],
        ["---" if column in texts else "---:" for column in columns],
        *([_cell(row.get(column)) for column in columns] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _heading(column: str) -> str:
    words = column.replace("_per_", "_/_").split("_")
    return " ".join(_SPELLINGS.get(word, word) for word in words).replace(" / ", "/")


def _cell(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:,.0f}" if abs(cell) >= 1000 else f"{cell:.3g}"
    return cell.replace("|", "\\|").replace("\n", " ")


def _anchor(title: str) -> str:
    kept: Iterable[str] = (letter for letter in title.lower() if letter.isalnum() or letter in " -_")
    return "".join(kept).replace(" ", "-")
