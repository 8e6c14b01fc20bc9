"""Runs tasks item by item. One JSON line per item is written as it is done, so that a killed run
goes on where it was.

Rows of likelihood tasks are scored many at a time; of the others several are answered at once.
Neither changes a figure.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import ContextError, FormatError, InputError, SchemaError, UsageError
from understudy.judge.evaluate.datasets import RowSet, load_rows
from understudy.judge.evaluate.judge import Judge
from understudy.judge.evaluate.tasks import TASKS, Kind, Row, Task, drawn, key_of
from understudy.report.lines import read_lines
from understudy.report.statistics import Interval, bootstrap, macro, wilson
from understudy.report.write import write_json

FORMAT, VERSION = "understudy-evaluation", 1
BATCH = 16  # rows of a likelihood task that are scored, and may be lost by a kill, together
Line = dict[str, Any]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What is run.

    Attributes:
        identity: what must be the same for a folder to be gone on with (model, seed …).
        model: further facts of the model for the report.
        run: the record that every stored run carries (`provenance.describe_run`); of a run in parts
            that of the first with the command of the last, which says what the report is of.
        suite: the names that were asked for, for the report.
        data: folder of whole sets; a task without a file there is taken from the samples unless
            `is_whole`.
        limit: at most so many rows of each task, drawn by `tasks.drawn`.
        limits: the same of single tasks.
        parallel: answers under way at once.
    """

    identity: Mapping[str, Any]
    model: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    suite: Sequence[str] = ()
    data: Path | None = None
    is_whole: bool = False
    limit: int | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    parallel: int = 8


def evaluate(
    judge: Judge,
    names: Sequence[str],
    output: Path,
    settings: RunSettings,
    progress: Progress = lambda _task, _done, _all: None,
) -> dict[str, Any]:
    """Scores tasks and returns the result that `report.json` holds; `docs/eval.md` lists its
    entries.

    Raises:
        UsageError: the folder holds a run of another identity, or no rows are left.
        InputError: a row that is not of its task's layout.
    """
    for limit in (settings.limit, *settings.limits.values()):
        if limit is not None and limit < 1:
            raise UsageError("nothing to score", where="limit", expected="at least 1", found=limit)
    if settings.parallel < 1:
        raise UsageError(
            "nothing to score with",
            where="parallel",
            expected="at least 1",
            found=settings.parallel,
        )
    sets = {name: load_rows(name, settings.data, is_whole=settings.is_whole) for name in names}
    with claimed(output, settings) as record:
        rows = {
            name: drawn(name, found.rows, settings.limits.get(name, settings.limit))
            for name, found in sets.items()
        }
        counter = _Counter(progress, sum(map(len, rows.values())))
        tasks = {}
        for name in names:
            lines = _run_task(name, judge, rows[name], output, settings.parallel, counter)
            tasks[name] = _summary(name, lines, sets[name])
    return {
        "format": FORMAT,
        "version": VERSION,
        "identity": dict(settings.identity),
        "model": dict(settings.model),
        "run": record,
        "seed": settings.identity.get("seed", 0),
        "suite": list(settings.suite),
        "limit": settings.limit,
        "limits": dict(settings.limits),
        "tasks": tasks,
    }


@contextmanager
def claimed(output: Path, settings: RunSettings) -> Iterator[dict[str, Any]]:
    """The folder, for this process alone as long as it runs."""
    output.mkdir(parents=True, exist_ok=True)
    with (output / "run.lock").open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # not on this system: two runs of one folder would score items twice, and count them once
        except ImportError:
            pass
        except OSError as error:
            raise UsageError(
                "another run is at work in the folder",
                where=output,
                do="wait, or name another --output",
            ) from error
        yield _claim(output, settings)
    (output / "run.lock").unlink(missing_ok=True)


def _claim(output: Path, settings: RunSettings) -> dict[str, Any]:
    """Makes the folder this run's, or checks that it is; returns the record of the run that began
    it."""
    path, identity = output / "run.json", dict(settings.identity)
    if path.exists():
        try:
            content = json.loads(path.read_text("utf-8"))
            record, known = dict(content["run"]), content["identity"]
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError("not a run's description", where=path, found=str(error)) from error
        if known != identity:
            raise UsageError(
                "the folder holds another run",
                where=output,
                expected=identity,
                found=known,
                do="name another --output",
            )
        return {**record, **{key: value for key, value in settings.run.items() if key == "command"}}
    write_json(path, {"identity": identity, "run": dict(settings.run)})
    return dict(settings.run)


@dataclass(slots=True)
class _Counter:
    progress: Progress
    total: int
    done: int = 0

    def add(self, name: str, count: int) -> None:
        if count:
            self.done += count
            self.progress(name, self.done, self.total)


def _run_task(
    name: str, judge: Judge, rows: Sequence[Row], output: Path, parallel: int, counter: _Counter
) -> list[Line]:
    """The lines of all rows, each once; those that the folder does not hold are scored and written
    as they are done."""
    path = output / "items" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    known = read_items(path)
    keyed = {key_of(name, row): row for row in rows}
    todo = [(key, row) for key, row in keyed.items() if key not in known]
    counter.add(name, len(rows) - len(todo))
    last = time.perf_counter()
    with path.open("a", encoding="utf-8") as file:
        for lines in _scored(name, judge, todo, parallel):
            now = time.perf_counter()
            for line in lines:
                line["seconds"] = round(
                    (now - last) / len(lines), 4
                )  # of the clock, so that they sum to what the task took
                known[line["id"]] = line
                file.write(json.dumps(line) + "\n")
            file.flush()
            last = now
            counter.add(name, len(lines))
    return [known[key] for key in keyed]


def _scored(
    name: str, judge: Judge, todo: Sequence[tuple[str, Row]], parallel: int
) -> Iterator[list[Line]]:
    if TASKS[name].is_batched:
        for begin in range(0, len(todo), BATCH):
            yield _score(name, judge, todo[begin : begin + BATCH])
        return
    pool = ThreadPoolExecutor(parallel, thread_name_prefix=name)
    waiting = list(reversed(todo))
    running: set[Future[list[Line]]] = set()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                running.add(pool.submit(_score, name, judge, [waiting.pop()]))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _score(name: str, judge: Judge, keyed: Sequence[tuple[str, Row]]) -> list[Line]:
    try:
        scores = TASKS[name].score(judge, [row for _, row in keyed])
    except (
        ContextError,
        SchemaError,
    ) as error:  # an item that this model cannot be asked is one that it fails
        if len(keyed) > 1:
            raise
        scores = [_failed(TASKS[name], keyed[0][1], str(error))]
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise InputError(
            "a row is not of its task's layout",
            where=name,
            found=f"{type(error).__name__}: {error}",
        ) from error
    return [{"id": key, **line} for (key, _), line in zip(keyed, scores, strict=True)]


def _failed(task: Task, row: Row, error: str) -> Line:
    metrics: Line = {metric: 0 for metric, kind in task.metrics.items() if kind == "share"}
    if not metrics:
        raise ContextError(error)
    first = next(iter(metrics))
    return {first: 0, **({task.by: row[task.by]} if task.by else {}), "error": error}


def read_items(path: Path) -> dict[str, Line]:
    """Items by id. A last line that a kill cut off is dropped from the file; a broken line before
    it is an error."""
    items: dict[str, Line] = {}
    for number, line in read_lines(path, repairs=True):
        if not isinstance(line, dict) or "id" not in line:
            raise FormatError("not an item of a run", where=f"{path}:{number}", found=line)
        items.setdefault(line["id"], line)
    return items


def _summary(name: str, lines: Sequence[Line], found: RowSet) -> dict[str, Any]:
    task = TASKS[name]
    figures, groups = figures_of(task, lines), groups_of(task, lines)
    first = next(iter(task.metrics))
    if task.macro and groups:
        shares = [found[first] for found in groups.values() if first in found]
        interval = macro(
            [(round(share["value"] * share["items"]), share["items"]) for share in shares]
        )
        figures[f"{first}_macro"] = {**interval._asdict(), "items": len(lines), "kind": "mean"}
    return {
        "about": task.about,
        "area": task.area,
        "items": len(lines),
        "seconds": round(sum(line["seconds"] for line in lines), 1),
        "errors": sum("error" in line for line in lines),
        "data": found.facts(),
        "primary": f"{first}_macro" if task.macro and groups else first,
        "figures": figures,
        "groups": groups,
    }


def groups_of(task: Task, lines: Sequence[Line]) -> dict[str, dict[str, dict[str, Any]]]:
    """The same figures of each category; none where there is only one."""
    names = list(dict.fromkeys(line[task.by] for line in lines)) if task.by else []
    if len(names) < 2:
        return {}
    return {
        name: figures_of(task, [line for line in lines if line[task.by] == name])
        for name in sorted(names)
    }


def figures_of(task: Task, lines: Sequence[Line]) -> dict[str, dict[str, Any]]:
    """Each metric with its 95 % interval; items that have none of a metric are left out of it."""
    figures = {}
    for metric, kind in task.metrics.items():
        having = [line for line in lines if line.get(metric) is not None]
        if having:
            figures[metric] = {
                **_interval(kind, metric, having)._asdict(),
                "items": len(having),
                "kind": kind,
            }
    return figures


def _interval(kind: Kind, metric: str, lines: Sequence[Line]) -> Interval:
    values = [float(line[metric]) for line in lines]
    if kind == "share":
        return wilson(round(sum(values)), len(values))
    interval = bootstrap(values, [float(line.get("weight", 1)) for line in lines])
    return (
        Interval(*(math.exp(min(value, 700.0)) for value in interval))
        if kind == "perplexity"
        else interval
    )
