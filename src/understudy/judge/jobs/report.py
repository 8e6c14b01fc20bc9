"""What `understudy jobs` writes: `jobs.json`, and the same as Markdown and HTML with a table for
each switch.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.judge.jobs.run import JOBS
from understudy.report.document import (
    Block,
    Fields,
    Heading,
    Intervals,
    KeyFigure,
    KeyFigures,
    Listing,
    Mark,
    Point,
    Prose,
    ReportDocument,
    Table,
)
from understudy.report.write import write_documents, write_json

_HEADS = ("", "on", "off", "on - off", "95 % interval", "p", "items")


def write_report(result: Mapping[str, Any], folder: Path) -> None:
    """Writes all three, each aside and then renamed."""
    write_json(folder / "jobs.json", result)
    write_documents([document(result)], folder)


def document(result: Mapping[str, Any]) -> ReportDocument:
    """The result as blocks."""
    name = result["model"].get("name", "a model")
    blocks: list[Block] = [_key_figures(result["jobs"])]
    for job_name, job in result["jobs"].items():
        blocks += [Heading(JOBS[job_name].title), _chart(job_name, job)]
        for switch in job["switches"]:
            blocks += _switch(switch)
    blocks += _suggested(result)
    return ReportDocument("jobs", f"The three jobs, {name}", _about(result), blocks)


def _about(result: Mapping[str, Any]) -> str:
    items = sum(job["items"] for job in result["jobs"].values())
    return f"{items} items, each with every switch on and off; {result['run'].get('date', '')}"


def _key_figures(jobs: Mapping[str, Any]) -> KeyFigures:
    figures = []
    for name, job in jobs.items():
        first = next(iter(JOBS[name].metrics))
        value, low, high = job["as_set"][first]["interval"]
        note = f"right of {job['as_set'][first]['items']} ({_percent(low)} to {_percent(high)})"
        figures.append(KeyFigure(JOBS[name].title, _percent(value), note))
    return KeyFigures(figures)


def _chart(name: str, job: Mapping[str, Any]) -> Intervals:
    """How much each switch helps the first metric."""
    first = next(iter(JOBS[name].metrics))
    points = [
        Point(switch["name"], *_points_of(figure), _mark(figure))
        for switch in job["switches"]
        if (figure := switch["metrics"].get(first)) is not None
    ]
    caption = "Items that come out right, in points of per cent: switch on against off"
    return Intervals(f"jobs-{name}", caption, points, 0.0, left="off is better", right="on")


def _points_of(figure: Mapping[str, Any]) -> tuple[float, float, float]:
    value, low, high = figure["difference"]
    return 100 * value, 100 * low, 100 * high


def _mark(figure: Mapping[str, Any]) -> Mark:
    if figure.get("p_holm", 1.0) >= 0.05:
        return "quiet"
    return "good" if figure["difference"][0] > 0 else "bad"


def _switch(switch: Mapping[str, Any]) -> list[Block]:
    state = "on" if switch["is_on"] else "off"
    suggested = switch.get("suggested", state)
    verdict = f"stays {state}" if suggested == state else f"is {state}, should be {suggested}"
    return [
        Heading(f"{switch['name']}: {verdict}", level=3),
        Prose([f"{switch['about']}."]),
        Table(_HEADS, [_row(*pair) for pair in switch["metrics"].items()], frozenset(range(1, 7))),
    ]


def _row(metric: str, figure: Mapping[str, Any]) -> list[str]:
    shown = _percent if figure["kind"] == "share" else _number
    difference, low, high = figure["difference"]
    p = figure["p"]
    corrected = f" ({figure['p_holm']:.3f} corrected)" if "p_holm" in figure else ""
    return [
        metric.replace("_", " "),
        shown(figure["on"][0]),
        shown(figure["off"][0]),
        shown(difference, sign=True),
        f"{shown(low, sign=True)} to {shown(high, sign=True)}",
        f"{p:.3f}{corrected}",
        str(figure["items"]),
    ]


def _percent(value: float, *, sign: bool = False) -> str:
    return f"{100 * value:+.0f} %" if sign else f"{100 * value:.0f} %"


def _number(value: float, *, sign: bool = False) -> str:
    return f"{value:+.1f}" if sign else f"{value:.1f}"


def _suggested(result: Mapping[str, Any]) -> list[Block]:
    changes = {job: values for job, values in result["suggested"].items() if values}
    said = (
        "Settings that did better the other way, as an entry of presets.json has them:"
        if changes
        else "No switch did significantly better the other way: the preset stays as it is."
    )
    blocks: list[Block] = [Heading("Suggested settings"), Prose([said])]
    if changes:
        blocks.append(Listing(json.dumps(changes, indent=1), "json"))
    return [*blocks, Heading("Data and run"), Fields(_facts(result))]


def _facts(result: Mapping[str, Any]) -> Sequence[tuple[str, Sequence[str]]]:
    data = [
        f"{name}: {job['items']} of {job['data']['rows']} items, {job['data']['source']}"
        for name, job in result["jobs"].items()
    ]
    record = result["run"]
    return [
        ("model", [str(result["model"].get("name")), str(result["identity"].get("fingerprint"))]),
        ("preset", [result["preset"]["name"]]),
        ("items", data),
        ("command", [str(record.get("command", ""))]),
        ("machine", [json.dumps(record.get("machine", {}))]),
    ]
