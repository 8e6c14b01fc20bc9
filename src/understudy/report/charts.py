"""Charts as SVG: values with intervals, curves, bars. Their colours are the page's, light, dark and
on paper.

svg(Intervals("quality", "Shares right", [Point("hellaswag", 0.4, 0.3, 0.5)])) -> "<svg …>"
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.report.document import (
    Bars,
    Chart,
    HeatMap,
    Intervals,
    Lines,
    Mark,
    Point,
    Series,
)
from understudy.report.heat import heat_map
from understudy.report.style import CHART
from understudy.report.text import number, visible

_WIDTH, _LABELS, _RIGHT, _ROW, _TOP, _BOTTOM = 720, 210, 160, 24, 14, 40
_LINES_LEFT, _LINES_HEIGHT, _LINES_RIGHT = 64, 240, 16  # of a chart of curves
_MAX_POINTS = 500  # of one curve: more cannot be told apart in this width
_MAX_SERIES = 4
_LABEL_LENGTH = 34


def svg(chart: Chart, *, is_alone: bool = False) -> str:
    """The chart; `is_alone` for a file of its own, which brings its colours."""
    match chart:
        case Intervals():
            height, parts = _intervals(chart)
        case Lines():
            height, parts = _lines(chart)
        case Bars():
            height, parts = _bars(chart)
        case HeatMap():
            height, parts = heat_map(chart, _WIDTH)
    style = f"<style>{CHART}</style>" if is_alone else ""
    space = ' xmlns="http://www.w3.org/2000/svg"' if is_alone else ""
    label = html.escape(visible(chart.caption, 200))
    head = f'<svg{space} viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{label}">'
    return f"{head}{style}{''.join(parts)}</svg>"


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` as places on the picture, `length` pixels from `start` on (less
    than 0: upwards)."""

    low: float
    high: float
    start: float
    length: float
    is_logarithmic: bool = False

    def place(self, value: float) -> float:
        """Pixels; what lies outside is put on the edge."""
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.is_logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return self.start + (at - low) / ((high - low) or 1.0) * self.length

    def ticks(self) -> list[float]:
        """Round numbers inside: four to nine of them, or 1, 2 and 5 of each power where the axis is
        logarithmic."""
        if self.is_logarithmic:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [part * 10.0**power for power in powers for part in (1, 2, 5)]
            inside = [tick for tick in found if self.low <= tick <= self.high]
            if 2 <= len(inside) <= 9:
                return inside
            return inside[:: max(1, len(inside) // 6)] if inside else [self.low, self.high]
        rough = ((self.high - self.low) or 1.0) / 5
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


def _text(x: float, y: float, text: str, *, kind: str = "", anchor: str = "") -> str:
    more = f' class="{kind}"' if kind else ""
    more += f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{more}>{html.escape(text)}</text>'


def _line(kind: str, x1: float, x2: float, y1: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" x2="{x2:.1f}" y1="{y1:.1f}" y2="{y2:.1f}"/>'


def _bottom_axis(scale: Scale, top: float, bottom: float) -> list[str]:
    """The line below a chart, its ticks and their numbers, a pale line up from each."""
    parts = [_line("axis", scale.start, scale.start + scale.length, bottom, bottom)]
    for tick in scale.ticks():
        x = scale.place(tick)
        parts.append(_line("grid", x, x, top, bottom))
        parts.append(_line("axis", x, x, bottom, bottom + 4))
        parts.append(_text(x, bottom + 17, f"{tick:g}", kind="number", anchor="middle"))
    return parts


# ---- intervals ----


def _intervals(chart: Intervals) -> tuple[int, list[str]]:
    below = _BOTTOM if chart.left or chart.right else _BOTTOM - 16
    height = _TOP + _ROW * len(chart.points) + below
    scale = Scale(*_bounds(chart), _LABELS, _WIDTH - _LABELS - _RIGHT, chart.is_logarithmic)
    bottom = height - below + 4
    parts = _bottom_axis(scale, _TOP - 8, bottom)
    if chart.reference is not None:
        x = scale.place(chart.reference)
        parts.append(_line("reference", x, x, _TOP - 8, bottom))
    parts += [
        _point(point, _TOP + _ROW * i + _ROW / 2, scale) for i, point in enumerate(chart.points)
    ]
    if chart.left:
        parts.append(_text(_LABELS, height - 4, f"← {chart.left}"))
    if chart.right:
        parts.append(_text(_WIDTH - _RIGHT, height - 4, f"{chart.right} →", anchor="end"))
    return height, parts


def _point(point: Point, y: float, scale: Scale) -> str:
    x, left, right = (scale.place(value) for value in (point.value, point.low, point.high))
    numbers = f"{_short(point.value)} ({_short(point.low)} to {_short(point.high)})"
    return (
        f'<g class="{_classes("point", point.mark)}">'
        + _text(_LABELS - 12, y + 4, _label(point.label), anchor="end")
        + _line("interval", left, right, y, y)
        + f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        + _text(_WIDTH - _RIGHT + 12, y + 4, numbers, kind="number")
        + "</g>"
    )


def _classes(name: str, mark: Mark) -> str:
    return name if mark == "plain" else f"{name} {mark}"


def _label(text: str) -> str:
    shown = visible(text)
    return shown if len(shown) <= _LABEL_LENGTH else shown[: _LABEL_LENGTH - 1] + "…"


def _short(value: float) -> str:
    return f"{value:.2f}" if abs(value) < 100 else number(value)


def _bounds(chart: Intervals) -> tuple[float, float]:
    if chart.bounds is not None:
        return chart.bounds
    ends = [end for point in chart.points for end in (point.low, point.high, point.value)]
    values = [value for value in ends if math.isfinite(value)]
    values += [] if chart.reference is None else [chart.reference]
    if chart.is_logarithmic:
        positive = [value for value in values if value > 0]
        return min(positive, default=1.0) / 1.1, max(positive, default=10.0) * 1.1
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = (high - low) * 0.05 or 0.5
    return low - margin, high + margin


# ---- curves ----


def _lines(chart: Lines) -> tuple[int, list[str]]:
    shown = [one for one in chart.series[:_MAX_SERIES] if len(_drawable(one, chart)) > 1]
    if not shown:
        return _ROW + 2 * _TOP, [_text(0, _ROW, "too few points to draw", kind="number")]
    points = [point for one in shown for point in _drawable(one, chart)]
    top = _TOP + (_ROW if len(shown) > 1 or chart.y_label else 0)
    bottom = top + _LINES_HEIGHT
    across = Scale(
        min(x for x, _ in points),
        max(x for x, _ in points),
        _LINES_LEFT,
        _WIDTH - _LINES_LEFT - _LINES_RIGHT,
    )
    low, high = _upright_bounds([y for _, y in points], is_logarithmic=chart.is_logarithmic)
    up = Scale(low, high, bottom, -_LINES_HEIGHT, chart.is_logarithmic)
    parts = _left_axis(up) + _bottom_axis(across, bottom, bottom)
    parts += [_curve(number, one, chart, across, up) for number, one in enumerate(shown)]
    parts += _legend(chart, shown)
    if chart.x_label:
        parts.append(_text(_WIDTH - _LINES_RIGHT, bottom + 34, chart.x_label, anchor="end"))
    return bottom + _BOTTOM, parts


def _drawable(series: Series, chart: Lines) -> list[tuple[float, float]]:
    return [
        (x, y)
        for x, y in series.points
        if math.isfinite(x) and math.isfinite(y) and (y > 0 or not chart.is_logarithmic)
    ]


def _upright_bounds(values: Sequence[float], *, is_logarithmic: bool) -> tuple[float, float]:
    low, high = min(values), max(values)
    if is_logarithmic:
        return low / 1.05, high * 1.05
    margin = (high - low) * 0.05 or abs(high) * 0.05 or 0.5
    return (0.0 if 0 <= low < 0.5 * high else low - margin), high + margin


def _left_axis(up: Scale) -> list[str]:
    parts = []
    for tick in up.ticks():
        y = up.place(tick)
        parts.append(_line("grid", _LINES_LEFT, _WIDTH - _LINES_RIGHT, y, y))
        parts.append(_text(_LINES_LEFT - 8, y + 4, f"{tick:g}", kind="number", anchor="end"))
    return parts


def _curve(number: int, series: Series, chart: Lines, across: Scale, up: Scale) -> str:
    points = _drawable(series, chart)
    step = max(1, len(points) // _MAX_POINTS)
    points = [*points[:-1:step], points[-1]]
    places = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in points)
    return f'<polyline class="curve s{number}" points="{places}"/>'


def _legend(chart: Lines, shown: Sequence[Series]) -> list[str]:
    parts = [_text(0, _TOP, chart.y_label, kind="number")] if chart.y_label else []
    if len(shown) > 1:
        width = (_WIDTH - 200) / len(shown)
        for number, one in enumerate(shown):
            x = 200 + number * width
            parts.append(f'<polyline class="curve s{number}" points="{x:.1f},10 {x + 18:.1f},10"/>')
            parts.append(_text(x + 24, 14, _label(one.label)))
    return parts


# ---- bars ----


def _bars(chart: Bars) -> tuple[int, list[str]]:
    largest = max((bar.value for bar in chart.bars if math.isfinite(bar.value)), default=0.0)
    scale = Scale(0.0, largest or 1.0, _LABELS, _WIDTH - _LABELS - _RIGHT)
    parts = []
    for i, bar in enumerate(chart.bars):
        y = _TOP + _ROW * i
        width = scale.place(bar.value) - _LABELS if math.isfinite(bar.value) else 0.0
        parts.append(
            f'<g class="{_classes("row", bar.mark)}">'
            + _text(_LABELS - 12, y + 16, _label(bar.label), anchor="end")
            + f'<rect class="bar" x="{_LABELS}" y="{y + 4}" width="{width:.1f}" height="16" '
            'rx="3"/>'
            + _text(_LABELS + width + 8, y + 16, bar.text or number(bar.value), kind="number")
            + "</g>"
        )
    return 2 * _TOP + _ROW * len(chart.bars), parts
