"""What a stage leaves behind: `report.json` for programs and `report.html`, one self-contained page, for people."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Curve = Sequence[tuple[float, float]]


@dataclass
class Report:
    """A stage's name, its figures (nested mappings and lists of plain values), tables and curves by title."""

    stage: str
    figures: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] | None = (
        None  # `provenance.describe_run` of the file that came out, once there is one
    )

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "stage": self.stage,
            "figures": self.figures,
            "tables": self.tables,
            "curves": {k: [list(p) for p in v] for k, v in self.curves.items()},
            "recipe": self.recipe,
            "run": self.run,
        }
        (folder / "report.json").write_text(json.dumps(content, indent=1), encoding="utf-8")
        (folder / "report.html").write_text(self.page(), encoding="utf-8")

    def page(self) -> str:
        """The whole page: no script, no link, nothing fetched."""
        parts = [f"<h1>{html.escape(self.stage)}</h1>", _figures(self.figures)]
        parts += [
            f"<h2>{html.escape(title)}</h2>{chart(curve)}" for title, curve in self.curves.items()
        ]
        parts += [
            f"<h2>{html.escape(title)}</h2>{_table(rows)}" for title, rows in self.tables.items()
        ]
        if self.recipe:
            parts.append(
                f"<h2>Recipe</h2><pre>{html.escape(json.dumps(self.recipe, indent=2))}</pre>"
            )
        style = (
            "body{font:15px/1.5 system-ui;max-width:52em;margin:2em auto;padding:0 1em;color:#222}"
            "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
            "td.n{text-align:right;font-variant-numeric:tabular-nums}pre{background:#f5f5f5;padding:1em;overflow:auto}"
        )
        head = (
            f'<meta charset="utf-8"><title>{html.escape(self.stage)}</title><style>{style}</style>'
        )
        return f"<!doctype html><html lang=en><head>{head}</head><body>{''.join(parts)}</body></html>\n"


def _figures(figures: dict[str, Any]) -> str:
    rows = []
    for name, value in figures.items():
        if isinstance(value, dict):
            inside = ", ".join(f"{k} {_text(v)}" for k, v in value.items())
            rows.append(f"<tr><td>{html.escape(name)}</td><td>{html.escape(inside)}</td></tr>")
        else:
            rows.append(
                f'<tr><td>{html.escape(name)}</td><td class="n">{html.escape(_text(value))}</td></tr>'
            )
    return f"<table>{''.join(rows)}</table>"


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in rows[0])
    body = "".join(
        "<tr>"
        + "".join(f'<td class="n">{html.escape(_text(value))}</td>' for value in row.values())
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return str(value)


def chart(curve: Curve, width: int = 640, height: int = 220) -> str:
    """A line as inline SVG, thinned to what can be seen, with its extremes written on."""
    points = [(float(x), float(y)) for x, y in curve]
    if len(points) < 2:
        return "<p>too few points to draw</p>"
    step = max(1, len(points) // width)
    points = [*points[::step], points[-1]]
    left, right = points[0][0], points[-1][0]
    low, high = min(y for _, y in points), max(y for _, y in points)
    across, up = max(right - left, 1e-12), max(high - low, 1e-12)
    path = " ".join(
        f"{40 + (x - left) / across * (width - 60):.1f},{height - 25 - (y - low) / up * (height - 45):.1f}"
        for x, y in points
    )
    label = '<text x="2" y="{y}" font-size="11">{text}</text>'
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img">'
        f'<polyline points="{path}" fill="none" stroke="#2a6" stroke-width="1.5"/>'
        + label.format(y=20, text=f"{high:.4g}")
        + label.format(y=height - 22, text=f"{low:.4g}")
        + f'<text x="40" y="{height - 5}" font-size="11">{left:,.0f}</text>'
        + f'<text x="{width - 70}" y="{height - 5}" font-size="11">{right:,.0f}</text></svg>'
    )
