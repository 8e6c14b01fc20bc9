"""Intervals as SVG: a dot for each value on a line that is its interval. Colours are the page's, light and dark."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from understudy.judge.cards.document import Intervals, Point
from understudy.judge.safety.report import visible

_WIDTH, _LABELS, _RIGHT, _ROW, _TOP, _BOTTOM = 720, 210, 160, 24, 14, 40
_STYLE = (
    "svg{color-scheme:light dark}text{font:12px system-ui,sans-serif;fill:#333}.axis{stroke:#bbb}.reference{stroke:#888;stroke-dasharray:3 3}"
    ".interval{stroke:#5b7fb5;stroke-width:4;stroke-linecap:round}.dot{fill:#1f4e8c}.marked .interval{stroke:#d08a5a}.marked .dot{fill:#a3430f}"
    ".number{font-variant-numeric:tabular-nums;fill:#666}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}.number{fill:#aaa}.axis{stroke:#555}.reference{stroke:#888}"
    ".interval{stroke:#5b85c4}.dot{fill:#a9c7f2}.marked .interval{stroke:#c9793f}.marked .dot{fill:#f3b58a}}"
)


def svg(figure: Intervals, *, is_alone: bool = False) -> str:
    """The figure; `is_alone` for a file of its own, which brings its colours."""
    low, high = _bounds(figure)
    height = _TOP + _ROW * len(figure.points) + _BOTTOM
    span = _WIDTH - _LABELS - _RIGHT

    def across(value: float) -> float:
        return _LABELS + (min(max(value, low), high) - low) / (high - low) * span

    bottom = height - _BOTTOM + 4
    parts = [
        f'<line class="axis" x1="{_LABELS}" x2="{_LABELS + span}" y1="{bottom}" y2="{bottom}"/>'
    ]
    for tick in _ticks(low, high):
        x = across(tick)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
        )
        parts.append(
            f'<text class="number" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{tick:g}</text>'
        )
    if figure.reference is not None:
        x = across(figure.reference)
        parts.append(
            f'<line class="reference" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 8}" y2="{bottom}"/>'
        )
    parts += [
        _point(point, _TOP + _ROW * i + _ROW / 2, across) for i, point in enumerate(figure.points)
    ]
    parts += _sides(figure, height, span)
    style = f"<style>{_STYLE}</style>" if is_alone else ""
    space = ' xmlns="http://www.w3.org/2000/svg"' if is_alone else ""
    label = html.escape(visible(figure.caption, 200))
    return f'<svg{space} viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">{style}{"".join(parts)}</svg>'


def _point(point: Point, y: float, across: object) -> str:
    x, left, right = (across(value) for value in (point.value, point.low, point.high))  # type: ignore[operator]
    label = html.escape(visible(point.label, 32))
    numbers = f"{_short(point.value)} ({_short(point.low)} to {_short(point.high)})"
    return (
        f'<g class="{"point marked" if point.is_marked else "point"}"><text x="{_LABELS - 12}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
        f'<line class="interval" x1="{left:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        f'<text class="number" x="{_WIDTH - _RIGHT + 12}" y="{y + 4:.1f}">{numbers}</text></g>'
    )


def _sides(figure: Intervals, height: int, span: int) -> list[str]:
    left = (
        f'<text x="{_LABELS}" y="{height - 4}">← {html.escape(figure.left)}</text>'
        if figure.left
        else ""
    )
    right = (
        f'<text x="{_LABELS + span}" y="{height - 4}" text-anchor="end">{html.escape(figure.right)} →</text>'
        if figure.right
        else ""
    )
    return [left, right]


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else number(value)


def number(value: float) -> str:
    """Two decimals, or what makes a small or a large number readable."""
    if not math.isfinite(value):
        return str(value)
    if 100 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.2f}" if 0.1 <= abs(value) < 100 or value == 0 else f"{value:.3g}"


def _bounds(figure: Intervals) -> tuple[float, float]:
    if figure.bounds is not None:
        return figure.bounds
    values = [
        value
        for point in figure.points
        for value in (point.low, point.high, point.value)
        if math.isfinite(value)
    ]
    values += [] if figure.reference is None else [figure.reference]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = (high - low) * 0.05 or 0.5
    return low - margin, high + margin


def _ticks(low: float, high: float) -> Sequence[float]:
    """Four to nine round numbers inside."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]
