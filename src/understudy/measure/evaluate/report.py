"""A run's `report.json` and `report.html`, and the comparison of two runs. Pages hold no script and fetch nothing."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import FormatError, MissingError, UsageError
from understudy.measure.evaluate.run import read_lines
from understudy.measure.evaluate.statistics import Interval, mcnemar, paired_bootstrap
from understudy.measure.evaluate.tasks import TASKS, Kind

_STYLE = (
    "body{font:15px/1.5 system-ui;max-width:52em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
    "td.n{text-align:right;font-variant-numeric:tabular-nums}svg{vertical-align:middle}"
)


def write_report(result: Mapping[str, Any], folder: Path) -> None:
    (folder / "report.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    (folder / "report.html").write_text(page(result), encoding="utf-8")


def page(result: Mapping[str, Any]) -> str:
    rows = []
    for name, task in result["tasks"].items():
        for metric, figure in task["figures"].items():
            values = [f"{figure[key]:.3f}" for key in ("value", "low", "high")]
            bar = _bar(figure) if figure["high"] <= 1 else ""
            rows.append([name, task["about"], metric, int(figure["items"]), values[0], f"{values[1]} – {values[2]}", bar])
    heads = ("task", "what", "metric", "items", "value", "95 % interval", "")
    return _page("Evaluation", result["identity"], heads, rows)


def _bar(figure: Mapping[str, float]) -> str:
    """A share as a dot on a line from 0 to 1, with its interval."""
    low, value, high = (figure[key] * 120 for key in ("low", "value", "high"))
    line = f'<line x1="{low:.1f}" x2="{high:.1f}" y1="6" y2="6" stroke="#369" stroke-width="3"/>'
    return f'<svg width="120" height="12"><rect width="120" height="12" fill="#eee"/>{line}<circle cx="{value:.1f}" cy="6" r="4" fill="#036"/></svg>'


def _page(title: str, facts: Mapping[str, Any], heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    about = "".join(f"<tr><td>{html.escape(str(k))}</td><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    start = f'<meta charset="utf-8"><title>{html.escape(title)}</title><style>{_STYLE}</style>'
    tables = f"<table>{about}</table><h2>Figures</h2><table><tr>{head}</tr>{body}</table>"
    return f"<!doctype html><html lang=en><head>{start}</head><body><h1>{html.escape(title)}</h1>{tables}</body></html>\n"


def _cell(value: Any) -> str:
    text = str(value)
    return f"<td>{text if text.startswith('<svg ') else html.escape(text)}</td>"


def read_report(path: Path) -> dict[str, Any]:
    """A `report.json`, given itself or its folder."""
    file = path / "report.json" if path.is_dir() else path
    try:
        result = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror}", where=file) from error
    except ValueError as error:
        raise FormatError("not a report", where=file, found=str(error)) from error
    if not isinstance(result, dict) or not isinstance(result.get("tasks"), dict):
        raise FormatError("not a report of an evaluation", where=file)
    return result


def compare(a: Path, b: Path) -> dict[str, Any]:
    """B against A, over the items that both runs have: exact McNemar for shares, paired bootstrap for the rest.

    `value` is B - A with its 95 % interval; of a perplexity the ratio B / A.
    """
    reports, folders = [read_report(path) for path in (a, b)], [path if path.is_dir() else path.parent for path in (a, b)]
    both = [name for name in TASKS if all(name in report["tasks"] for report in reports)]
    if not both:
        raise UsageError("the runs have no task in common", where=f"{a}, {b}")
    tasks = {}
    for name in both:
        mine, other = (read_lines(folder / "items" / f"{name}.jsonl") for folder in folders)
        common = [key for key in mine if key in other]
        figures = {}
        for metric, kind in TASKS[name].metrics.items():
            pairs = [(mine[k], other[k]) for k in common if None not in (mine[k].get(metric), other[k].get(metric))]
            if pairs:
                figures[metric] = _difference(kind, metric, pairs)
        tasks[name] = {"items": len(common), "about": TASKS[name].about, "figures": figures}
    return {"a": reports[0]["identity"], "b": reports[1]["identity"], "tasks": tasks}


def _difference(kind: Kind, metric: str, pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, float]:
    values_a, values_b = [float(a[metric]) for a, _ in pairs], [float(b[metric]) for _, b in pairs]
    interval, p = paired_bootstrap(values_a, values_b, [float(a.get("weight", 1)) if kind != "share" else 1.0 for a, _ in pairs])
    if kind == "share":
        p = mcnemar(sum(x > y for x, y in zip(values_a, values_b, strict=True)),
                    sum(x < y for x, y in zip(values_a, values_b, strict=True)))  # fmt: skip
    if kind == "perplexity":
        interval = Interval(*(math.exp(min(value, 700.0)) for value in interval))
    return {**interval._asdict(), "p": p, "items": len(pairs)}


def comparison_page(result: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            metric,
            int(figure["items"]),
            f"{figure['value']:+.3f}",
            f"{figure['low']:.3f} – {figure['high']:.3f}",
            f"{figure['p']:.4f}",
        ]
        for name, task in result["tasks"].items()
        for metric, figure in task["figures"].items()
    ]
    heads = ("task", "metric", "items", "B - A (perplexity: B / A)", "95 % interval", "p")
    return _page("Comparison", {"A": json.dumps(result["a"]), "B": json.dumps(result["b"])}, heads, rows)
