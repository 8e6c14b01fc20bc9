"""Two runs side by side, paired by item: what changed, with intervals, and which differences hold
after correction for many tests."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import UsageError
from understudy.judge.evaluate.report import by_area, facts_of, point, read_report
from understudy.judge.evaluate.run import Line, read_items
from understudy.judge.evaluate.tasks import TASKS, Kind
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
from understudy.report.document import (
    Kind as CellKind,
)
from understudy.report.statistics import Interval, holm, mcnemar, paired_bootstrap, paired_shares

FORMAT = "understudy-comparison"
LEVEL = 0.05
FEW, TOO_FEW = 10, "too few items"  # below as many a bootstrap has too little to draw from
_ABOUT = ("format", "version", "identity", "model", "run", "seed", "suite", "limit", "limits")
Figures = dict[str, dict[str, Any]]


def compare(a: Path, b: Path) -> dict[str, Any]:
    """B against A, over the items that both runs have: for shares exact McNemar and Newcombe's
    interval, for the rest a paired bootstrap.

    `value` is B - A with its 95 % interval; of a perplexity the ratio B / A. `p_holm` is `p`
    corrected over the tasks' first figures (in `groups`: over all categories), `verdict` is better,
    worse, changed (of bias and privacy, where less may be more) or unclear at 5 % of `p_holm`; too
    few items where a bootstrap has under ten.

    Raises:
        UsageError: the runs have no item in common.
    """
    reports, folders = (
        [read_report(path) for path in (a, b)],
        [path if path.is_dir() else path.parent for path in (a, b)],
    )
    tasks = {}
    for name in TASKS:
        if all(name in report["tasks"] for report in reports):
            mine, other = (read_items(folder / "items" / f"{name}.jsonl") for folder in folders)
            if pairs := [(mine[key], other[key]) for key in mine if key in other]:
                tasks[name] = _compared(name, pairs, [report["tasks"][name] for report in reports])
    if not tasks:
        raise UsageError(
            "the runs have no item in common",
            where=f"{a}, {b}",
            do="run the same tasks with the same data and limit",
        )
    _correct(tasks)
    about = [{key: report.get(key) for key in _ABOUT} for report in reports]
    return {"format": FORMAT, "version": 1, "a": about[0], "b": about[1], "tasks": tasks}


def _compared(
    name: str, pairs: Sequence[tuple[Line, Line]], reports: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    task = TASKS[name]
    groups: dict[str, Figures] = {}
    if task.by:
        kinds = sorted({str(mine[task.by]) for mine, _ in pairs})
        first = {next(iter(task.metrics)): next(iter(task.metrics.values()))}
        if len(kinds) > 1:
            groups = {
                kind: _differences(first, [pair for pair in pairs if pair[0][task.by] == kind])
                for kind in kinds
            }
    return {
        "about": task.about,
        "area": task.area,
        "items": len(pairs),
        "primary": next(iter(task.metrics)),
        "is_same_data": reports[0]["data"]["sha256"] == reports[1]["data"]["sha256"],
        "figures": _differences(task.metrics, pairs),
        "groups": {kind: found for kind, found in groups.items() if found},
    }


def _differences(metrics: Mapping[str, Kind], pairs: Sequence[tuple[Line, Line]]) -> Figures:
    figures = {}
    for metric, kind in metrics.items():
        having = [(a, b) for a, b in pairs if None not in (a.get(metric), b.get(metric))]
        if having:
            figures[metric] = _difference(kind, metric, having)
    return figures


def _difference(kind: Kind, metric: str, pairs: Sequence[tuple[Line, Line]]) -> dict[str, Any]:
    a, b = [float(one[metric]) for one, _ in pairs], [float(one[metric]) for _, one in pairs]
    weights = [float(one.get("weight", 1)) if kind != "share" else 1.0 for one, _ in pairs]
    interval, p = paired_bootstrap(a, b, weights)
    means = [
        sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights) for values in (a, b)
    ]
    if kind == "share":
        kinds = [(x > 0, y > 0) for x, y in zip(a, b, strict=True)]
        both, only_a, only_b, neither = (
            kinds.count(one) for one in ((True, True), (True, False), (False, True), (False, False))
        )
        p, interval = mcnemar(only_a, only_b), paired_shares(both, only_a, only_b, neither)
    if kind == "perplexity":
        interval = Interval(*(_exp(value) for value in interval))
        means = [_exp(mean) for mean in means]
    return {
        **interval._asdict(),
        "a": means[0],
        "b": means[1],
        "p": p,
        "items": len(pairs),
        "kind": kind,
    }


def _exp(value: float) -> float:
    return math.exp(min(value, 700.0))


def _correct(tasks: Mapping[str, Any]) -> None:
    """Two families: the tasks' first figures with the other figures of each task after them, and
    all categories."""
    first = [
        task["figures"][task["primary"]]
        for task in tasks.values()
        if task["primary"] in task["figures"]
    ]
    rest = [
        figure
        for task in tasks.values()
        for metric, figure in task["figures"].items()
        if metric != task["primary"]
    ]
    groups = [
        figure
        for task in tasks.values()
        for found in task["groups"].values()
        for figure in found.values()
    ]
    for task in tasks.values():  # of bias no direction is the better one
        for figure in [
            *task["figures"].values(),
            *(one for found in task["groups"].values() for one in found.values()),
        ]:
            figure["is_neutral"] = task["area"] in ("bias", "privacy")
    for family in (first, rest, groups):
        for figure, p in zip(family, holm([figure["p"] for figure in family]), strict=True):
            change = (
                math.log(max(figure["value"], 1e-300))
                if figure["kind"] == "perplexity"
                else figure["value"]
            )
            is_better = change < 0 if figure["kind"] == "perplexity" else change > 0
            figure["p_holm"] = p
            direction = (
                "changed" if figure.pop("is_neutral") else "better" if is_better else "worse"
            )
            figure["verdict"] = "unclear" if p >= LEVEL or change == 0 else direction
            if figure["items"] < FEW and figure["kind"] != "share":
                figure["verdict"] = TOO_FEW


# ---- the page ----


def comparison_document(result: Mapping[str, Any]) -> ReportDocument:
    """The comparison as blocks: verdicts and charts first, every figure folded."""
    a, b = (facts_of(result[side]) for side in ("a", "b"))
    blocks: list[Block] = [*_verdicts(result), *_charts(result)]
    for title, tasks in by_area(result["tasks"]):
        blocks.append(Heading(title))
        for name, task in tasks.items():
            blocks += _task(name, task)
    rows: list[list[Cell]] = [
        [name, *ours, *theirs] for (name, ours), (_, theirs) in zip(a, b, strict=True)
    ]
    blocks += [Heading("The two runs"), Table(("", "A", "B"), rows)]
    about = f"A: {_name(result['a'])}; B: {_name(result['b'])}"
    return ReportDocument("comparison", "What changed from A to B", about, blocks)


def _name(side: Mapping[str, Any]) -> str:
    return str(side["model"].get("name", "a model"))


def _verdicts(result: Mapping[str, Any]) -> Iterator[Block]:
    """In words: which tasks are better, which worse, and of which nothing can be said."""
    by_verdict: dict[str, list[str]] = {name: [] for name in _SAYS}
    for name, task in result["tasks"].items():
        if figure := task["figures"].get(task["primary"]):
            change = f"{figure['a']:.3f} → {figure['b']:.3f}, {_words(figure)}"
            by_verdict[figure["verdict"]].append(f"{name} ({change})")
    yield Heading("In short")
    yield KeyFigures(
        [
            KeyFigure(says, str(len(by_verdict[verdict])), "tasks", _KINDS.get(verdict, "plain"))
            for verdict, says in _TILES.items()
        ]
    )
    rows: list[tuple[str, list[Cell]]] = [
        (says, ["; ".join(by_verdict[verdict])])
        for verdict, says in _SAYS.items()
        if by_verdict[verdict]
    ]
    yield Fields(rows)
    yield Prose([Text(_NOTE, kind="note")])


_SAYS = {
    "worse": "B is worse in",
    "better": "B is better in",
    "changed": "B differs in",
    "unclear": "No difference is shown in",
    TOO_FEW: "Too few items to tell in",
}
_TILES = {"worse": "B is worse", "better": "B is better", "unclear": "no difference shown"}
_KINDS: dict[str, CellKind] = {"worse": "bad", "better": "good"}
_MARKS: dict[str, Mark] = {"worse": "bad", "better": "good"}
_NOTE = (
    "The tasks' first figures over the items that both runs have; significant at "
    f"{100 * LEVEL:.0f} % after Holm's correction. "
    "No difference shown is not the same as none: the interval says how large it may be."
)


def _words(figure: Mapping[str, Any]) -> str:
    low, high = figure["low"], figure["high"]
    is_ratio = figure["kind"] == "perplexity"
    return f"× {low:.3f} to {high:.3f}" if is_ratio else f"{low:+.3f} to {high:+.3f}"


def _charts(result: Mapping[str, Any]) -> Iterator[Block]:
    differences: list[Point] = []
    ratios: list[Point] = []
    for name, task in result["tasks"].items():
        if task["area"] == "bias":  # in nats, which would stretch the axis
            continue
        for metric, figure in task["figures"].items():
            one = point(f"{name}: {metric}", figure, _MARKS.get(figure["verdict"], "quiet"))
            (ratios if figure["kind"] == "perplexity" else differences).append(one)
    if differences:
        reach = max(0.05, *(abs(end) for one in differences for end in (one.low, one.high)))
        yield Intervals(
            "differences",
            "Differences, B - A, with 95 % intervals",
            differences,
            reference=0.0,
            bounds=(-reach, reach),
        )
    if ratios:
        low = max(min(0.95, *(one.low for one in ratios)), 1e-3)
        high = min(max(1.05, *(one.high for one in ratios)), 1e6)
        caption = "Perplexity, B / A, with 95 % intervals"
        yield Intervals("ratios", caption, ratios, 1.0, (low, high), is_logarithmic=True)


def _task(name: str, task: Mapping[str, Any]) -> Iterator[Block]:
    rows = [["all", metric, *_cells(figure)] for metric, figure in task["figures"].items()]
    rows += [
        [group, metric, *_cells(figure)]
        for group, found in task["groups"].items()
        for metric, figure in found.items()
    ]
    yield Heading(name, level=3)
    warning = (
        "" if task["is_same_data"] else " The runs' data differ; only common items are compared."
    )
    about = f"{task['about']}; {task['items']} items in both.{warning}"
    yield Prose([Text(about, kind="note")])
    change = "B - A (perplexity: B / A)"
    heads = ("", "metric", "A", "B", change, "95 % interval", "p", "p after Holm", "", "items")
    yield Folded(f"Every figure of {name}", [Table(heads, rows, frozenset({2, 3, 4, 5, 6, 7, 9}))])


def _cells(figure: Mapping[str, Any]) -> list[str]:
    sign = "" if figure["kind"] == "perplexity" else "+"
    return [
        f"{figure['a']:.3f}",
        f"{figure['b']:.3f}",
        f"{figure['value']:{sign}.3f}",
        f"{figure['low']:.3f} to {figure['high']:.3f}",
        f"{figure['p']:.4f}",
        f"{figure['p_holm']:.4f}",
        figure["verdict"],
        str(figure["items"]),
    ]
