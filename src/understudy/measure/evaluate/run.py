"""Runs tasks item by item. One JSON line per item is written as it is done, so that a killed run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import FormatError, InputError, UsageError
from understudy.measure.evaluate.judge import Judge
from understudy.measure.evaluate.statistics import Interval, bootstrap, wilson
from understudy.measure.evaluate.tasks import TASKS, Task, load_rows

Line = dict[str, Any]


def evaluate(
    judge: Judge,
    names: Sequence[str],
    output: Path,
    *,
    identity: Mapping[str, Any],
    data: Path | None = None,
    limit: int | None = None,
    progress: Callable[[str, int, int], None] = lambda _task, _done, _all: None,
) -> dict[str, Any]:
    """Scores tasks and returns the result that `report.json` holds.

    Args:
        identity: what must be the same for a folder to be gone on with (model, seed …).
        limit: rows of each task, from the first.
        progress: called with (task, items done of all tasks, items in all).

    Raises:
        UsageError: the folder holds a run of another identity, or no rows are left.
        InputError: a row that is not of its task's layout.
    """
    if limit is not None and limit < 1:
        raise UsageError("nothing to score", where="limit", expected="at least 1", found=limit)
    _claim(output, identity)
    rows = {name: load_rows(name, data)[:limit] for name in names}
    total, done = sum(map(len, rows.values())), 0
    result: dict[str, Any] = {"identity": dict(identity), "tasks": {}}
    for name in names:
        path = output / "items" / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        known = read_lines(path)
        lines = []
        for row in rows[name]:
            key = _key(name, row)
            if key not in known:
                known[key] = {"id": key, **_scored(name, TASKS[name], judge, row)}
                with path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(known[key]) + "\n")
            lines.append(known[key])
            done += 1
            progress(name, done, total)
        unique = list({line["id"]: line for line in lines}.values())
        result["tasks"][name] = {"items": len(unique), "figures": figures_of(TASKS[name], unique), "about": TASKS[name].about}
    return result


def _claim(output: Path, identity: Mapping[str, Any]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    path = output / "run.json"
    if path.exists():
        try:
            found = json.loads(path.read_text("utf-8"))
        except ValueError as error:
            raise FormatError("not a run's description", where=path, found=str(error)) from error
        if found != dict(identity):
            raise UsageError("the folder holds another run", where=output, expected=dict(identity), found=found,
                             do="name another --output")  # fmt: skip
        return
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(dict(identity)), encoding="utf-8")
    beside.replace(path)


def _key(name: str, row: Mapping[str, Any]) -> str:
    """A row by its content, so that a changed row is another item."""
    text = json.dumps([name, row], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _scored(name: str, task: Task, judge: Judge, row: Mapping[str, Any]) -> Line:
    try:
        return task.score(judge, row)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError("a row is not of its task's layout", where=name, found=f"{type(error).__name__}: {error}") from error


def read_lines(path: Path) -> dict[str, Line]:
    """Items by id. A last line that a kill cut off is dropped from the file; a broken line before it is an error."""
    if not path.exists():
        return {}
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    lines: dict[str, Line] = {}
    for number, text in enumerate(whole.splitlines(), 1):
        try:
            line = json.loads(text)
            lines.setdefault(line["id"], line)
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError("not an item of a run", where=f"{path}:{number}", found=str(error)) from error
    return lines


def figures_of(task: Task, lines: Sequence[Line]) -> dict[str, dict[str, float]]:
    """Each metric with its 95 % interval; items that have none of a metric are left out of it."""
    figures = {}
    for metric, kind in task.metrics.items():
        having = [line for line in lines if line.get(metric) is not None]
        if not having:
            continue
        values = [float(line[metric]) for line in having]
        if kind == "share":
            interval = wilson(round(sum(values)), len(values))
        else:
            interval = bootstrap(values, [float(line.get("weight", 1)) for line in having])
        if kind == "perplexity":
            interval = Interval(*(math.exp(min(value, 700.0)) for value in interval))
        figures[metric] = {**interval._asdict(), "items": len(having)}
    return figures
