"""A run's `report.json` and `report.html`: charts and main figures first, every figure folded. What
a model wrote is not in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import FormatError, MissingError
from understudy.judge.evaluate.run import FORMAT, VERSION
from understudy.report.document import (
    Block,
    Cell,
    Fields,
    Folded,
    Heading,
    Intervals,
    KeyFigure,
    KeyFigures,
    Mark,
    Point,
    Prose,
    ReportDocument,
    Table,
    Text,
)
from understudy.report.text import duration, number
from understudy.report.write import write_json, write_page

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
UNRANKED = ("bias", "privacy")  # areas where less may be more
Figure = Mapping[str, Any]


def write_report(result: Mapping[str, Any], folder: Path) -> None:
    """Writes both files, each aside and then renamed."""
    write_json(folder / "report.json", result)
    write_page(document(result), folder)


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
    is_report = isinstance(result, dict) and result.get("format") == FORMAT
    if not is_report or not isinstance(result.get("tasks"), dict):
        raise FormatError("not a report of an evaluation", where=file)
    if result.get("version") != VERSION:
        found = result.get("version")
        raise FormatError("a report of another version", where=file, expected=VERSION, found=found)
    return dict(result)


def document(result: Mapping[str, Any]) -> ReportDocument:
    """The report as blocks."""
    name = result["model"].get("name", "a model")
    blocks: list[Block] = [*_summary(result)]
    for title, tasks in by_area(result["tasks"]):
        blocks.append(Heading(title))
        for task_name, task in tasks.items():
            blocks += _task(task_name, task)
    blocks += [Heading("Data and run"), *_sources(result), Fields(facts_of(result))]
    items = sum(task["items"] for task in result["tasks"].values())
    about = f"{len(result['tasks'])} tasks, {items:,} items; {result['run'].get('date', '')}"
    return ReportDocument("report", f"Evaluation of {name}", about, blocks)


def by_area(tasks: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The titles of the areas that there are tasks of, with those."""
    for area, title in AREAS.items():
        found = {name: task for name, task in tasks.items() if task["area"] == area}
        if found:
            yield title, found


def facts_of(result: Mapping[str, Any]) -> list[tuple[str, list[Cell]]]:
    """What stands with every page: the model, when, where and with what it was judged."""
    model, record = result["model"], result["run"]
    limits = [f"{name} {count}" for name, count in (result.get("limits") or {}).items()]
    facts = {
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
        "limit of rows": ", ".join([str(result["limit"] or "none"), *limits]),
    }
    return [(name, [str(value)]) for name, value in facts.items()]


def is_share(figure: Figure) -> bool:
    """Whether it fits an axis from 0 to 1."""
    return bool(figure["kind"] != "perplexity" and figure["low"] >= 0 and figure["high"] <= 1)


def point(label: str, figure: Figure, mark: Mark = "plain") -> Point:
    return Point(label, figure["value"], figure["low"], figure["high"], mark)


def _summary(result: Mapping[str, Any]) -> Iterator[Block]:
    first = [
        (name, task, task["figures"][task["primary"]])
        for name, task in result["tasks"].items()
        if task["primary"] in task["figures"] and task["area"] not in UNRANKED
    ]
    if not first:
        return
    yield Heading("At a glance")
    others = [entry for entry in first if not is_share(entry[2])]
    tiles = [
        KeyFigure(f"{name}: {task['primary']}", number(figure["value"]), _spread(figure))
        for name, task, figure in others
    ]
    if tiles:
        yield KeyFigures(tiles)
    points = [
        point(f"{name}: {task['primary']}", figure)
        for name, task, figure in first
        if is_share(figure)
    ]
    if points:
        caption = "The first figure of each task, with 95 % intervals"
        yield Intervals("tasks", caption, points, bounds=(0.0, 1.0))


def _spread(figure: Figure) -> str:
    return f"{number(figure['low'])} to {number(figure['high'])}"


def _task(name: str, task: Mapping[str, Any]) -> Iterator[Block]:
    figures, groups = task["figures"], task["groups"]
    yield Heading(name, level=3)
    errors = f", {task['errors']} could not be asked and count as failed" if task["errors"] else ""
    about = f"{task['about']}; {task['items']} items, {duration(task['seconds'])}{errors}."
    yield Prose([Text(about, kind="note")])
    points = [
        point(metric, figure, "plain" if metric == task["primary"] else "quiet")
        for metric, figure in figures.items()
        if is_share(figure)
    ]
    if points:
        yield Intervals(
            f"{name}-figures", f"{name}, with 95 % intervals", points, bounds=(0.0, 1.0)
        )
    yield from _by_group(name, task)
    rows = [("all", metric, figure) for metric, figure in figures.items()]
    rows += [
        (group, metric, one) for group, found in groups.items() for metric, one in found.items()
    ]
    yield Folded(f"Every figure of {name}", [figure_table(rows)])


def _by_group(name: str, task: Mapping[str, Any]) -> Iterator[Block]:
    first = task["primary"].removesuffix("_macro")
    rows = [(group, found[first]) for group, found in task["groups"].items() if first in found]
    if not rows:
        return
    points = [point(group, figure, "quiet") for group, figure in rows]
    if rows[0][1]["kind"] == "perplexity":
        yield Intervals(f"{name}-groups", f"{name} by text", points, is_logarithmic=True)
    else:
        caption = f"{name}: {first} by {len(rows)} categories"
        bounds = (0.0, 1.0) if all(is_share(figure) for _, figure in rows) else None
        yield Intervals(f"{name}-groups", caption, points, bounds=bounds)


def figure_table(rows: Sequence[tuple[str, str, Figure]]) -> Table:
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
    return Table(("", "metric", "value", "95 % interval", "items"), cells, frozenset({2, 3, 4}))


def _sources(result: Mapping[str, Any]) -> Iterator[Block]:
    rows = [
        [
            name,
            _names(task["data"]["source"]),
            str(task["data"]["rows"]),
            str(task["items"]),
            task["data"]["sha256"],
        ]
        for name, task in result["tasks"].items()
    ]
    note = (
        "A sample is this package's own and no public set; its figures stand beside no published "
        "ones."
    )
    yield Prose([Text(note, kind="note")])
    heads = ("task", "source", "rows", "judged", "sha256")
    yield Folded("Data of each task", [Table(heads, rows, frozenset({2, 3}))])


def _names(source: Any) -> str:
    return ", ".join(source) if isinstance(source, list | tuple) else str(source)
