"""Interval charts as SVG in a page: a dot with its 95 % interval a row, one axis for all. No script, nothing fetched."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import NamedTuple

WIDTH, LABEL, ROW, PAD = 760, 250, 20, 26
_MARKS = {"plain": "#5b6b82", "main": "#0b4f9e", "better": "#0a7a3d", "worse": "#b3261e"}


class Bar(NamedTuple):
    """One row; `mark` is plain, main, better or worse."""

    label: str
    value: float
    low: float
    high: float
    mark: str = "plain"


class Axis(NamedTuple):
    """From `low` to `high`, with a line at `zero` where that says something."""

    low: float
    high: float
    zero: float | None = None
    is_logarithmic: bool = False

    def place(self, value: float) -> float:
        """Pixels from the left edge of the picture."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return LABEL + (at - low) / ((high - low) or 1.0) * (WIDTH - LABEL - 70)


SHARES = Axis(0.0, 1.0)


def chart(bars: Sequence[Bar], axis: Axis, title: str) -> str:
    """An SVG with a title for readers that cannot see it; empty without bars."""
    if not bars:
        return ""
    height = PAD + ROW * len(bars) + 4
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-label="{html.escape(title, quote=True)}">'
    ]
    for tick in _ticks(axis):
        x = axis.place(tick)
        strong = axis.zero is not None and math.isclose(tick, axis.zero, abs_tol=1e-12)
        colour = "#888" if strong else "#ddd"
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{PAD - 6}" y2="{height}" stroke="{colour}"/>'
        )
        parts.append(
            f'<text x="{x:.1f}" y="{PAD - 10}" text-anchor="middle" class="t">{tick:g}</text>'
        )
    for i, bar in enumerate(bars):
        parts.append(_row(bar, axis, PAD + ROW * i + ROW / 2))
    return "".join([*parts, "</svg>"])


def _row(bar: Bar, axis: Axis, y: float) -> str:
    low, value, high = (axis.place(one) for one in (bar.low, bar.value, bar.high))
    colour = _MARKS[bar.mark]
    label = html.escape(bar.label if len(bar.label) < 40 else bar.label[:38] + "…")
    return (
        f'<text x="{LABEL - 10}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="{colour}" stroke-width="3" stroke-opacity=".45"/>'
        f'<circle cx="{value:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>'
        f'<text x="{WIDTH - 60}" y="{y + 4:.1f}" class="t">{bar.value:.3f}</text>'
    )


def _ticks(axis: Axis) -> list[float]:
    if axis.is_logarithmic:
        ends = [axis.low * (axis.high / axis.low) ** (i / 4) for i in range(5)]
        ticks = [float(f"{end:.2g}") for end in ends]
    else:
        step = 10 ** math.floor(math.log10((axis.high - axis.low) or 1.0))
        step = next(
            step * part
            for part in (0.1, 0.2, 0.25, 0.5, 1.0)
            if (axis.high - axis.low) / (step * part) <= 8
        )
        first = math.ceil(axis.low / step - 1e-9)
        ticks = [round(i * step, 10) for i in range(first, math.floor(axis.high / step + 1e-9) + 1)]
    ticks += [axis.zero] if axis.zero is not None else []
    return sorted({tick for tick in ticks if axis.low <= tick <= axis.high})
