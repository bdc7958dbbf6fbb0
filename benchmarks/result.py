"""One result of a benchmark: the file that holds it, where and with what it was measured, and how to repeat it.

A benchmark is a module of this folder that ends in ``Result(...).write()``; ``benchmarks.page`` makes a section of
docs/performance.md of every file in ``benchmarks/results``.
"""

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

FOLDER: Final = Path(__file__).parent
RESULTS: Final = FOLDER / "results"
SIGNIFICANT_DIGITS: Final = 4

Cell: TypeAlias = str | int | float | bool | None
Row: TypeAlias = Mapping[str, Cell]
"""One line of the table; a name carries its unit, such as ``decode_tokens_per_s``."""


@dataclass(frozen=True)
class Chart:
    """Bars drawn from the rows: one group for each ``label``, in it one bar for each ``series``."""

    title: str
    value: str
    """Column of the bars' lengths; rows without it are left out."""
    label: str
    """Column that names the groups."""
    series: str | None = None
    """Column that names the bars of a group."""
    where: dict[str, str] = field(default_factory=dict)
    """Column and text that a row must have to be drawn."""


@dataclass(frozen=True)
class Result:
    """What one benchmark found out."""

    name: str
    """Of the module that measured it."""
    title: str
    summary: str
    """Markdown: what was done and how to read the columns. No numbers that were measured."""
    command: str
    rows: Sequence[Row]
    machine: Row
    versions: Mapping[str, str]
    measured_on: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())
    charts: Sequence[Chart] = ()

    @classmethod
    def read(cls, path: Path) -> Self:
        """A result that ``write`` wrote; unknown or missing fields are errors."""
        fields = json.loads(path.read_text())
        return cls(**{**fields, "charts": [Chart(**chart) for chart in fields.get("charts", ())]})

    def write(self, path: Path | None = None) -> Path:
        """Into ``benchmarks/results``, unless told otherwise; floats keep four significant digits."""
        path = path or RESULTS / f"{self.name}.json"
        fields = asdict(self) | {"rows": [{key: _short(cell) for key, cell in row.items()} for row in self.rows]}
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(fields, indent=2, ensure_ascii=False) + "\n")
        return path


def machine() -> dict[str, Cell]:
    """What it was measured on, and how busy that was before."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions(*packages: str) -> dict[str, str]:
    """Of Python, of our code with its commit, and of the named packages."""
    ours = importlib.metadata.version("seodang")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=FOLDER, capture_output=True, text=True)
    if commit.returncode == 0:  # a source archive has no history
        ours = f"{ours} ({commit.stdout.strip()})"
    named = {package: importlib.metadata.version(package) for package in packages}
    return {"python": platform.python_version(), "seodang": ours, **named}


def interleaved(measurements: Mapping[str, Callable[[], Row]], rounds: int) -> dict[str, dict[str, Cell]]:
    """The median of each number over the rounds; every round takes all measurements in turn, so that what slows the
    machine for a while slows all of them.
    """
    taken: dict[str, list[Row]] = {name: [] for name in measurements}
    for _ in range(rounds):
        for name, measure in measurements.items():
            taken[name].append(measure())
    return {name: medians(rows) for name, rows in taken.items()}


def medians(rows: Sequence[Row]) -> dict[str, Cell]:
    """Column by column: the median of numbers, and the one value of anything else."""
    columns = dict.fromkeys(key for row in rows for key in row)
    return {key: _median([row[key] for row in rows if row.get(key) is not None]) for key in columns}


def number(row: Row, column: str) -> float:
    """A cell that must be one."""
    cell = row[column]
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        raise TypeError(f"{column}={cell!r}: must be a number")
    return cell


def _median(cells: Iterable[Cell]) -> Cell:
    values = list(cells)
    numbers = [cell for cell in values if isinstance(cell, int | float) and not isinstance(cell, bool)]
    if values and len(numbers) == len(values):
        return statistics.median(numbers)
    (value,) = set(values) or {None}
    return value


def _short(cell: Cell) -> Cell:
    return float(f"{cell:.{SIGNIFICANT_DIGITS}g}") if isinstance(cell, float) else cell


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines: list[str] = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names: list[Any] = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
