"""Pictures for a report: training curves, contestants with their intervals, their calibration. Needs matplotlib.

The functions take plain numbers, so that whoever holds them, from a job's folder or from the wire, can draw.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

Points = Sequence[tuple[int, float]]

_COLOURS: Final = {"teacher": "#6b7280", "student": "#2563eb"}
_BASELINE_COLOURS: Final = ("#d97706", "#0d9488", "#9333ea")
_GRID: Final = "#e5e7eb"
_INK: Final = "#1f2937"


@dataclass(frozen=True)
class Bar:
    """One contestant: its score and the bounds of its interval, all 0 to 1, and a word beside its name."""

    subject: str
    score: float
    low: float
    high: float
    note: str = ""
    """Such as its number of parameters."""


def draw_curves(path: Path, title: str, panels: Mapping[str, Mapping[str, Points]]) -> None:
    """Writes a picture with one panel for each measure, and in it one line for each subject.

    Args:
        panels: measure -> subject -> (step, value) pairs, such as {"training loss": {"student": [(1, 2.5), ...]}}.
    """
    figure = Figure(figsize=(4.6 * len(panels), 3.4), layout="constrained")
    subjects = list(dict.fromkeys(subject for lines in panels.values() for subject in lines))
    for number, (measure, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(1, len(panels), number)
        for subject, points in lines.items():
            steps, values = zip(*points, strict=True) if points else ((), ())
            axes.plot(steps, values, color=_colour(subject, subjects), linewidth=1.6, label=subject)
        axes.set_title(measure, fontsize=10, color=_INK, loc="left")
        axes.set_xlabel("optimiser step", fontsize=9)
        axes.set_ylim(bottom=0)
        _quiet(axes, "y")
    figure.axes[0].legend(frameon=False, fontsize=9)
    _save(figure, path, title)


def draw_contestants(path: Path, title: str, metric: str, bars: Sequence[Bar]) -> None:
    """Writes a picture with one bar for each contestant and its 95 % interval as a whisker."""
    figure = Figure(figsize=(7.2, 0.9 + 0.55 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    subjects = [bar.subject for bar in bars]
    places = range(len(bars))
    axes.barh(places, [bar.score for bar in bars], height=0.62, color=[_colour(each, subjects) for each in subjects])
    below = [bar.score - bar.low for bar in bars]
    above = [bar.high - bar.score for bar in bars]
    axes.errorbar(
        [bar.score for bar in bars], places, xerr=(below, above), fmt="none", ecolor=_INK, elinewidth=1.2, capsize=3
    )
    for place, bar in enumerate(bars):
        axes.text(min(bar.high, 1) + 0.012, place, f"{100 * bar.score:.1f}", va="center", fontsize=9, color=_INK)
    axes.set_yticks(places, [f"{bar.subject}\n{bar.note}" if bar.note else bar.subject for bar in bars], fontsize=9)
    axes.set_xlim(0, 1.1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
    axes.set_xlabel(f"{metric}, in points of 100; whiskers are 95 % intervals", fontsize=9)
    axes.invert_yaxis()
    _quiet(axes, "x")
    _save(figure, path, title)


def draw_reliability(path: Path, title: str, lines: Mapping[str, Sequence[tuple[float, float, int]]]) -> None:
    """Writes a picture of how often each contestant is right where it is so sure; on the diagonal it is calibrated.

    Args:
        lines: subject -> (confidence, accuracy, positions), the first two 0 to 1, rising in confidence. The more
            positions, the larger the dot.
    """
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot((0, 1), (0, 1), color=_GRID, linewidth=1.4, label="as sure as right")
    for subject, points in lines.items():
        confidences, accuracies, counts = zip(*points, strict=True) if points else ((), (), ())
        colour = _colour(subject, list(lines))
        axes.plot(confidences, accuracies, color=colour, linewidth=1.0, alpha=0.5)
        axes.scatter(confidences, accuracies, s=[6 + 2 * count**0.5 for count in counts], color=colour, label=subject)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("probability of the likeliest token", fontsize=9)
    axes.set_ylabel("share of positions where it is right", fontsize=9)
    axes.legend(frameon=False, fontsize=9)
    _quiet(axes, "both")
    _save(figure, path, title)


def _colour(subject: str, subjects: Sequence[str]) -> str:
    if subject in _COLOURS:
        return _COLOURS[subject]
    baselines = [each for each in subjects if each not in _COLOURS]
    return _BASELINE_COLOURS[baselines.index(subject) % len(_BASELINE_COLOURS)]


def _quiet(axes: Any, gridded: str) -> None:
    axes.grid(axis=gridded, color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, length=0, colors=_INK)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _save(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(title, fontsize=11, color=_INK, x=0.01, ha="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
