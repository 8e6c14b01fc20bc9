"""A heat map: amounts as shades of one colour, darkest where they are largest."""

from __future__ import annotations

import html
import math

from understudy.report.document import HeatMap
from understudy.report.text import number, visible

_LABELS, _RIGHT, _TOP, _BOTTOM = 150, 16, 14, 40
_LOW, _HIGH = 14.0, 34.0  # of a cell, in pixels
_PALEST = 0.06
_COLUMN_LABELS = 12  # more would lie over each other


def heat_map(chart: HeatMap, width: int) -> tuple[int, list[str]]:
    """Height and parts of the picture."""
    columns = max(1, len(chart.columns))
    across = (width - _LABELS - _RIGHT) / columns
    down = min(_HIGH, max(_LOW, across))
    found = [v for row in chart.values for v in row if v is not None and math.isfinite(v)]
    largest = max(found, default=0.0) or 1.0
    parts = []
    for i, (label, values) in enumerate(zip(chart.rows, chart.values, strict=True)):
        top = _TOP + i * down
        place = f'x="{_LABELS - 10}" y="{top + down / 2 + 4:.1f}"'
        shown = html.escape(visible(label, 24))
        parts.append(f'<text {place} text-anchor="end">{shown}</text>')
        for j, value in enumerate(values):
            name = f"{label}, {chart.x_label} {chart.columns[j]}"
            place = f'x="{_LABELS + j * across:.1f}" y="{top:.1f}"'
            parts.append(_cell(value, largest, place, across - 1, down - 1, name))
    bottom = _TOP + len(chart.rows) * down
    parts += _column_labels(chart, across, bottom)
    about = html.escape(f"{chart.x_label}, darkest {number(largest)}".lstrip(", "))
    parts.append(
        f'<text class="number" x="{width - _RIGHT}" y="{bottom + 32:.1f}" text-anchor="end">'
        f"{about}</text>"
    )
    return math.ceil(bottom + _BOTTOM), parts


def _cell(
    value: float | None, largest: float, place: str, width: float, height: float, name: str
) -> str:
    size = f'width="{max(1.0, width):.1f}" height="{height:.1f}" rx="2"'
    if value is None or not math.isfinite(value):
        return f'<rect class="cell none" {place} {size}/>'
    shade = _PALEST + (1 - _PALEST) * min(1.0, max(0.0, value / largest))
    title = html.escape(f"{visible(name, 80)}: {number(value)}")
    fill = f'fill-opacity="{shade:.3f}"'
    return f'<rect class="cell" {place} {size} {fill}><title>{title}</title></rect>'


def _column_labels(chart: HeatMap, across: float, bottom: float) -> list[str]:
    step = max(1, math.ceil(len(chart.columns) / _COLUMN_LABELS))
    return [
        f'<text class="number" x="{_LABELS + (j + 0.5) * across:.1f}" y="{bottom + 16:.1f}" '
        f'text-anchor="middle">{html.escape(visible(name, 8))}</text>'
        for j, name in enumerate(chart.columns)
        if j % step == 0
    ]
