"""Small pictures as inline SVG: intervals, lines, reliability. Plain numbers in, text out; they load nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

Dots = Sequence[tuple[float, float]]

_COLOURS: Final = {"teacher": "#6b7280", "student": "#2563eb"}
_BASELINES: Final = ("#d97706", "#0d9488", "#9333ea", "#be185d")


@dataclass(frozen=True)
class Interval:
    """A share with its confidence interval, all 0 to 1."""

    subject: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class _Frame:
    """Where data lie within a picture, in its units."""

    left: float
    top: float
    width: float
    height: float
    x_max: float
    y_max: float

    def x(self, value: float) -> float:
        return self.left + self.width * value / self.x_max

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - value / self.y_max)


def colour_of(subject: str, subjects: Sequence[str]) -> str:
    """The same colour for a contestant in every picture."""
    if subject in _COLOURS:
        return _COLOURS[subject]
    baselines = [each for each in subjects if each not in _COLOURS]
    return _BASELINES[baselines.index(subject) % len(_BASELINES)]


def draw_intervals(title: str, intervals: Sequence[Interval]) -> str:
    """One bar a contestant, its 95 % interval as a whisker."""
    subjects = [each.subject for each in intervals]
    frame = _Frame(150, 8, 430, 34 * len(intervals), 1, 1)
    parts = [_vertical(frame, share, f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)]
    for row, each in enumerate(intervals):
        middle = frame.top + 34 * row + 17
        low, high = frame.x(each.low), frame.x(each.high)
        parts += [
            f'<text class="name" x="{frame.left - 8}" y="{middle + 4:.1f}" text-anchor="end">{escape(each.subject)}'
            "</text>",
            f'<rect x="{frame.left}" y="{middle - 9:.1f}" width="{frame.x(each.value) - frame.left:.1f}" height="18" '
            f'fill="{colour_of(each.subject, subjects)}" fill-opacity="0.8"/>',
            f'<path class="whisker" d="M{low:.1f} {middle:.1f}H{high:.1f}M{low:.1f} {middle - 5:.1f}v10M{high:.1f} '
            f'{middle - 5:.1f}v10"/>',
            f'<text x="{high + 8:.1f}" y="{middle + 4:.1f}">{each.value:.1%}</text>',
        ]
    return _svg(title, 660, frame.top + frame.height + 26, parts)


def draw_lines(title: str, x_label: str, lines: Mapping[str, Dots], subjects: Sequence[str]) -> str:
    """One line a contestant, from zero."""
    values = [value for dots in lines.values() for value in dots]
    frame = _Frame(
        44,
        14,
        270,
        170,
        max((x for x, _ in values), default=1) or 1,
        1.05 * max((y for _, y in values), default=1) or 1,
    )
    parts = [_horizontal(frame, frame.y_max * share, f"{frame.y_max * share:.3g}") for share in (0, 0.5, 1)]
    parts += [_vertical(frame, frame.x_max * share, f"{frame.x_max * share:,.0f}") for share in (0, 0.5, 1)]
    parts.append(f'<text x="{frame.left + frame.width / 2}" y="222" text-anchor="middle">{escape(x_label)}</text>')
    for subject, dots in lines.items():
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in dots)
        parts.append(f'<polyline class="line" points="{path}" stroke="{colour_of(subject, subjects)}"/>')
    return _svg(title, 334, 228, parts)


def draw_reliability(
    title: str, lines: Mapping[str, Sequence[tuple[float, float, int]]], subjects: Sequence[str]
) -> str:
    """How often each contestant is right where it is so sure: (confidence, accuracy, positions). On the diagonal it is
    calibrated; the more positions, the larger the dot.
    """
    frame = _Frame(48, 10, 300, 300, 1, 1)
    parts = [_horizontal(frame, share, f"{share:.0%}") for share in (0, 0.5, 1)]
    parts += [_vertical(frame, share, f"{share:.0%}") for share in (0, 0.5, 1)]
    parts.append(f'<path class="diagonal" d="M{frame.x(0)} {frame.y(0)}L{frame.x(1)} {frame.y(1)}"/>')
    most = max((count for dots in lines.values() for _, _, count in dots), default=1)
    for subject, dots in lines.items():
        colour = colour_of(subject, subjects)
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y, _ in dots)
        parts.append(f'<polyline class="line" points="{path}" stroke="{colour}" stroke-opacity="0.5"/>')
        parts += [
            f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="{2 + 6 * (count / most) ** 0.5:.1f}" '
            f'fill="{colour}" fill-opacity="0.7"/>'
            for x, y, count in dots
        ]
    parts.append('<text x="198" y="346" text-anchor="middle">probability of the likeliest token</text>')
    parts.append(
        '<text x="12" y="160" text-anchor="middle" transform="rotate(-90 12 160)">how often it is right</text>'
    )
    return _svg(title, 364, 354, parts)


def draw_legend(subjects: Sequence[str]) -> str:
    """Which colour is whose."""
    marks = (
        f'<span><i style="background:{colour_of(subject, subjects)}"></i>{escape(subject)}</span>'
        for subject in subjects
    )
    return f'<p class="legend">{"".join(marks)}</p>'


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" aria-label="{escape(title)}">\n'
        f"{inside}\n</svg>"
    )


def _vertical(frame: _Frame, value: float, label: str) -> str:
    x, bottom = frame.x(value), frame.top + frame.height
    return (
        f'<path class="grid" d="M{x:.1f} {frame.top}V{bottom}"/>'
        f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{label}</text>'
    )


def _horizontal(frame: _Frame, value: float, label: str) -> str:
    y = frame.y(value)
    return (
        f'<path class="grid" d="M{frame.left} {y:.1f}H{frame.left + frame.width}"/>'
        f'<text x="{frame.left - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )
