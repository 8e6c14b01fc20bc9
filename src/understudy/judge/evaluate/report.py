"""A run's `report.json` and `report.html`. Pages hold no script and fetch nothing; what a model wrote is not in them."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import FormatError, MissingError
from understudy.judge.evaluate.charts import SHARES, Axis, Bar, chart
from understudy.judge.evaluate.run import FORMAT, VERSION

AREAS = {
    "language": "Language",
    "knowledge": "Knowledge and sense",
    "instructions": "Instructions",
    "calls": "Function calling",
    "documents": "Answers from documents",
    "characters": "Characters",
    "bias": "Bias",
    "privacy": "Privacy",
}
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#1c2430;background:#fff}"
    "h1,h2,h3{line-height:1.2}h2{margin-top:2em;border-bottom:1px solid #ddd}table{border-collapse:collapse;margin:.6em 0}"
    "td,th{padding:.15em .8em .15em 0;text-align:left;border-bottom:1px solid #e4e7ec;vertical-align:top}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}svg{max-width:100%;height:auto}svg text{font-size:12.5px;fill:#1c2430}"
    "svg .t{fill:#667}summary{cursor:pointer}.better{color:#0a7a3d}.worse{color:#b3261e}.note{color:#667}"
)


def write_report(result: Mapping[str, Any], folder: Path) -> None:
    """Writes both files, each aside and then renamed."""
    for name, text in (
        ("report.json", json.dumps(result, indent=1) + "\n"),
        ("report.html", page(result)),
    ):
        part = folder / f"{name}.part"
        part.write_text(text, encoding="utf-8")
        part.replace(folder / name)


def read_report(path: Path) -> dict[str, Any]:
    """A `report.json`, given itself or its folder.

    Raises:
        MissingError: there is none.
        FormatError: it is no report of an evaluation, or of a later version.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        result = json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror}", where=file) from error
    except ValueError as error:
        raise FormatError("not a report", where=file, found=str(error)) from error
    if (
        not isinstance(result, dict)
        or result.get("format") != FORMAT
        or not isinstance(result.get("tasks"), dict)
    ):
        raise FormatError("not a report of an evaluation", where=file)
    if result.get("version") != VERSION:
        raise FormatError(
            "a report of another version", where=file, expected=VERSION, found=result.get("version")
        )
    return result


def page(result: Mapping[str, Any]) -> str:
    """The report as one HTML page."""
    sections = [_summary(result)]
    for area, title in AREAS.items():
        tasks = {name: task for name, task in result["tasks"].items() if task["area"] == area}
        if tasks:
            sections.append(
                f"<h2>{title}</h2>" + "".join(_task(name, task) for name, task in tasks.items())
            )
    sections.append(_sources(result))
    return html_page(
        f"Evaluation of {result['model'].get('name', 'a model')}",
        facts_of(result),
        "".join(sections),
    )


def facts_of(result: Mapping[str, Any]) -> dict[str, Any]:
    """What stands at the head of a page: the model, when, where and with what it was judged."""
    model, record = result["model"], result["run"]
    return {
        "model": model.get("name", ""),
        "sha256": record.get("model_sha256", ""),
        "fingerprint": model.get("fingerprint", ""),
        "parameters": f"{model['parameters']:,}" if "parameters" in model else "",
        "bytes": f"{record.get('model_bytes', 0):,}",
        "date": record.get("date", ""),
        "command": record.get("command") or "",
        "version": record.get("version", ""),
        "machine": record.get("machine", ""),
        "seed": result["seed"],
        "suite": ", ".join(result["suite"]),
        "limit of rows": ", ".join(
            [
                str(result["limit"] or "none"),
                *(f"{name} {n}" for name, n in (result.get("limits") or {}).items()),
            ]
        ),
    }


def _summary(result: Mapping[str, Any]) -> str:
    bars = []
    for name, task in result["tasks"].items():
        figure = (
            task["figures"].get(task["primary"])
            if task["area"] not in ("bias", "privacy")
            else None
        )
        if figure is not None and _is_share(figure):
            bars.append(_bar(f"{name}: {task['primary']}", figure, "main"))
    head = "<h2>At a glance</h2><p class=note>Each task's first figure with its 95 % interval.</p>"
    return (
        head + chart(bars, SHARES, "The first figure of each task, with 95 % intervals")
        if bars
        else ""
    )


def _is_share(figure: Mapping[str, Any]) -> bool:
    """Whether it fits an axis from 0 to 1."""
    return bool(figure["kind"] != "perplexity" and figure["low"] >= 0 and figure["high"] <= 1)


def _bar(label: str, figure: Mapping[str, Any], mark: str = "plain") -> Bar:
    return Bar(label, figure["value"], figure["low"], figure["high"], mark)


def _task(name: str, task: Mapping[str, Any]) -> str:
    figures, groups = task["figures"], task["groups"]
    head = f"<h3>{html.escape(name)}</h3><p class=note>{html.escape(task['about'])}; {task['items']} items, {task['seconds']:.0f} s{_errors(task)}.</p>"
    bars = [
        _bar(metric, figure, "main" if metric == task["primary"] else "plain")
        for metric, figure in figures.items()
        if _is_share(figure)
    ]
    first = task["primary"].removesuffix("_macro")
    rows = [(group, found[first]) for group, found in groups.items() if first in found]
    if rows and rows[0][1]["kind"] == "perplexity":
        low, high = min(f["low"] for _, f in rows), max(f["high"] for _, f in rows)
        by_group = chart(
            [_bar(group, f) for group, f in rows],
            Axis(low * 0.9, high * 1.1, is_logarithmic=True),
            f"{name} by text",
        )
    else:
        by_group = chart(
            [_bar(group, figure) for group, figure in rows],
            SHARES,
            f"{name}: {first} by {len(rows)} categories",
        )
    tables = figure_table([("", metric, figure) for metric, figure in figures.items()])
    every = [
        (group, metric, figure)
        for group, found in groups.items()
        for metric, figure in found.items()
    ]
    if every:
        by_group = f"<p>{html.escape(first)} by category</p>{by_group}<details><summary>Every figure by category</summary>{figure_table(every)}</details>"
    return head + chart(bars, SHARES, f"{name}, with 95 % intervals") + tables + by_group


def _errors(task: Mapping[str, Any]) -> str:
    return f", {task['errors']} could not be asked and count as failed" if task["errors"] else ""


def figure_table(rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    """Category, metric and figure of each row."""
    cells = [
        [
            group,
            metric,
            f"{figure['value']:.3f}",
            f"{figure['low']:.3f} to {figure['high']:.3f}",
            str(figure["items"]),
        ]
        for group, metric, figure in rows
    ]
    return table(("", "metric", "value", "95 % interval", "items"), cells, numeric=(2, 3, 4))


def _sources(result: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            task["data"]["source"],
            str(task["data"]["rows"]),
            str(task["items"]),
            task["data"]["sha256"],
        ]
        for name, task in result["tasks"].items()
    ]
    note = "<p class=note>A sample is this package's own and no public set; its figures stand beside no published ones.</p>"
    return (
        "<h2>Data</h2>"
        + note
        + table(("task", "source", "rows", "judged", "sha256"), rows, numeric=(2, 3))
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] = ()) -> str:
    """An HTML table; cells are escaped."""
    kind = [' class="n"' if i in numeric else "" for i in range(len(heads))]
    head = "".join(f"<th{kind[i]}>{html.escape(name)}</th>" for i, name in enumerate(heads))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind[i]}>{html.escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def html_page(title: str, facts: Mapping[str, Any], body: str) -> str:
    """A page with a table of facts at its head; `body` is HTML already."""
    about = table(("", ""), [[name, str(value)] for name, value in facts.items()])
    meta = '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    head = f"{meta}<title>{html.escape(title)}</title><style>{_STYLE}</style>"
    return f'<!doctype html><html lang="en"><head>{head}</head><body><h1>{html.escape(title)}</h1>{about}{body}</body></html>\n'
