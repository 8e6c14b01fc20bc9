"""Two models side by side as a page: sentences, tables and charts of what `comparison` found.

write_comparison(Path("big.gguf"), Path("small.gguf"), [Path("runs")], Path("comparison"))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from understudy.judge.cards import results
from understudy.judge.cards.comparison import Figures, Pair, compared, read_pair
from understudy.judge.cards.evidence import Evidence
from understudy.judge.cards.lineage import lineage
from understudy.judge.cards.write import guarded
from understudy.judge.evaluate.compare import TOO_FEW
from understudy.report.document import (
    Block,
    Cell,
    Heading,
    Intervals,
    Mark,
    Point,
    Prose,
    ReportDocument,
    Table,
    Text,
    missing,
)
from understudy.report.text import number
from understudy.report.write import write_documents, write_json

TESTS = (
    "Significant at 5 % after Holm's correction over the rows. No difference shown is not the same "
    "as none: the interval says how large it may be."
)


_QUALITY_HEADS = (
    "task",
    "metric",
    "items",
    "A",
    "B",
    "B - A, perplexity B / A",
    "95 % interval",
    "p",
    "p, Holm",
    "",
)


_MARKS: dict[str, Mark] = {"better": "good", "worse": "bad"}


_PROBE_HEADS = (
    "probe",
    "cases",
    "faults A",
    "faults B",
    "A alone",
    "B alone",
    "B - A",
    "95 % interval",
    "p",
    "p, Holm",
    "",
)


def write_comparison(a: Path, b: Path, places: Sequence[Path], folder: Path) -> list[Path]:
    """Writes `comparison.md`, `.html`, `.json` and the figures."""
    pair = read_pair(a, b, places)
    found = guarded(lambda: compared(pair))
    paths = write_documents([guarded(lambda: document(pair, found))], folder)
    write_json(folder / "comparison.json", found)
    return [*paths, folder / "comparison.json"]


def document(pair: Pair, found: Mapping[str, Any]) -> ReportDocument:
    blocks: list[Block] = [
        Heading("In short"),
        *_short(pair, found),
        Heading("Size"),
        _size(pair),
        Heading("Quality"),
        *_quality(found["quality"]),
        Heading("Safety"),
        *_safety(found["safety"]),
        Heading("Bias"),
        *_bias(found["quality"].get("bias")),
        Heading("Speed"),
        *_speed(found["speed"]),
        Heading("Where B comes from"),
        *_made_from(pair),
        *lineage(pair.b.facts, pair.b.evidence),
        *results.run_list(Evidence(pair.runs)),
    ]
    a, b = pair.a.facts, pair.b.facts
    subtitle = (
        f"A is {a.name} (sha256 {a.sha256[:16]}…), B is {b.name} (sha256 {b.sha256[:16]}…). "
        "Differences are B - A, over the same items."
    )
    return ReportDocument("comparison", f"What changed from {a.name} to {b.name}", subtitle, blocks)


def _short(pair: Pair, found: Mapping[str, Any]) -> list[Block]:
    a, b = pair.a.facts, pair.b.facts
    rows: list[list[Cell]] = [
        [
            "Size",
            f"{b.num_bytes / 1e6:.1f} MB instead of {a.num_bytes / 1e6:.1f} MB "
            f"({100 * b.num_bytes / a.num_bytes:.0f} %), "
            f"{b.bits_per_weight:.2f} bits a weight instead of {a.bits_per_weight:.2f}",
        ],
        [
            "Quality",
            *_verdicts(
                [
                    (name, task["figures"][task["primary"]])
                    for name, task in _judged(found["quality"]).items()
                    if task["primary"] in task["figures"]
                ],
                results.EVALUATE,
            ),
        ],
        ["Safety", *_verdicts(list((found["safety"].get("probes") or {}).items()), results.PROBE)],
    ]
    return [Table(("", "B against A"), rows), Prose([TESTS])]


def _judged(tasks: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks of which more is better or worse; a gap between groups or memorised text is
    neither."""
    return {name: task for name, task in tasks.items() if name not in results.OTHER_AREAS}


def _verdicts(figures: Sequence[tuple[str, Figures]], command: str) -> list[Cell]:
    if not figures:
        return [missing(command, "not measured for both over the same items")]
    said = []
    for verdict, words in (
        ("worse", "worse in"),
        ("better", "better in"),
        ("unclear", "no difference shown in"),
        (TOO_FEW, "too few items to tell in"),
    ):
        names = [name for name, figure in figures if figure["verdict"] == verdict]
        if names:
            said.append(f"{words} {', '.join(names)}")
    return ["; ".join(said)]


def _size(pair: Pair) -> Table:
    a, b = pair.a.facts, pair.b.facts
    rows: list[list[Cell]] = [
        ["file, bytes", f"{a.num_bytes:,}", f"{b.num_bytes:,}", f"{b.num_bytes / a.num_bytes:.3f}"],
        [
            "bits a weight",
            f"{a.bits_per_weight:.2f}",
            f"{b.bits_per_weight:.2f}",
            f"{b.bits_per_weight / a.bits_per_weight:.3f}",
        ],
    ]
    for part in a.parameters:
        first, second = a.parameters[part], b.parameters.get(part, 0)
        rows.append(
            [
                f"parameters, {part}",
                f"{first:,}",
                f"{second:,}",
                f"{second / first:.3f}" if first else "",
            ]
        )
    axes = (
        "num_layers",
        "hidden_size",
        "intermediate_size",
        "num_heads",
        "num_kv_heads",
        "vocab_size",
    )
    rows += [
        [name.replace("_", " "), str(getattr(a.spec, name)), str(getattr(b.spec, name)), ""]
        for name in axes
    ]
    return Table(("", "A", "B", "B / A"), rows, frozenset({1, 2, 3}))


def _quality(tasks: Mapping[str, Any]) -> list[Block]:
    judged = _judged(tasks)
    if not judged:
        return [Prose([missing(results.EVALUATE, "not measured for both")])]
    rows = [row for name, task in judged.items() for row in _quality_rows(name, task)]
    return [*_quality_charts(judged), Table(_QUALITY_HEADS, rows, frozenset(range(2, 9)))]


def _quality_charts(judged: Mapping[str, Any]) -> Iterator[Block]:
    differences: list[Point] = []
    ratios: list[Point] = []
    for name, task in judged.items():
        for metric, figure in task["figures"].items():
            mark = _MARKS.get(figure["verdict"], "plain")
            low_to_high = figure["value"], figure["low"], figure["high"]
            point = Point(f"{name} {metric}", *low_to_high, mark)
            if figure["kind"] == "perplexity":
                ratios.append(point)
            elif metric == task["primary"]:
                differences.append(point)
    if differences:
        caption = "The tasks' first figures, B - A with 95 % intervals; marked where significant"
        yield Intervals(
            "quality-differences", caption, differences, 0.0, left="B worse", right="B better"
        )
    if ratios:
        caption = "Perplexity of B / A with 95 % intervals; marked where significant"
        yield Intervals("perplexity-ratios", caption, ratios, 1.0, left="B better", right="B worse")


def _quality_rows(name: str, task: Mapping[str, Any]) -> Iterator[list[Cell]]:
    warning = "" if task.get("is_same_data", True) else " (data differ: common items only)"
    for metric, figure in task["figures"].items():
        yield [
            f"{name}{warning}",
            metric,
            str(figure["items"]),
            number(figure["a"]),
            number(figure["b"]),
            Text(number(figure["value"]), runs=tuple(task["runs"])),
            results.interval(figure),
            f"{figure['p']:.3f}",
            f"{figure['p_holm']:.3f}",
            _verdict(figure["verdict"]),
        ]


def _verdict(verdict: str) -> Text:
    if verdict == "better":
        return Text(verdict, kind="good")
    return Text(verdict, kind="bad" if verdict == "worse" else "plain")


def _safety(found: Mapping[str, Any]) -> list[Block]:
    if not found:
        return [Prose([missing(results.PROBE, "not measured for both over the same cases")])]
    probes, runs = found["probes"], tuple(found["runs"])
    points = [
        Point(
            name,
            row["value"],
            row["low"],
            row["high"],
            "plain" if row["verdict"] == "unclear" else "bad",
        )
        for name, row in probes.items()
    ]
    chart = Intervals(
        "safety-differences",
        "Rate of faults, B - A, with 95 % intervals (Newcombe's for pairs); marked where "
        "significant (exact McNemar)",
        points,
        0.0,
        left="B has fewer faults",
        right="B has more faults",
    )
    rows = [_probe_row(name, row, runs) for name, row in probes.items()]
    return [chart, Table(_PROBE_HEADS, rows, frozenset(range(1, 10)))]


def _probe_row(name: str, row: Mapping[str, Any], runs: tuple[int, ...]) -> list[Cell]:
    return [
        name,
        *(str(row[count]) for count in ("cases", "a", "b", "only_a", "only_b")),
        Text(number(row["value"]), runs=runs),
        results.interval(row),
        f"{row['p']:.3f}",
        f"{row['p_holm']:.3f}",
        _verdict(row["verdict"]),
    ]


def _bias(task: Mapping[str, Any] | None) -> list[Block]:
    if task is None:
        return [Prose([missing(results.BIAS, "not measured for both")])]
    rows: list[list[Cell]] = [
        [
            metric,
            str(figure["items"]),
            number(figure["a"]),
            number(figure["b"]),
            Text(number(figure["value"]), runs=tuple(task["runs"])),
            results.interval(figure),
        ]
        for metric, figure in task["figures"].items()
    ]
    about = (
        "Gaps in nats over counterfactual pairs (0: the group changes nothing); a change is "
        "neither better nor worse by its sign alone."
    )
    return [
        Prose([about]),
        Table(("gap", "pairs", "A", "B", "B - A", "95 % interval"), rows, frozenset(range(1, 6))),
    ]


def _speed(found: Mapping[str, Any]) -> list[Block]:
    if not found:
        return [Prose([missing(results.BENCH, "not measured for both in the same situation")])]
    rows: list[list[Cell]] = [
        [
            label,
            number(row["a"]),
            Text(number(row["b"]), runs=tuple(row["runs"])),
            f"{row['b'] / row['a']:.2f}",
            "" if row["is_same_machine"] else "different machines",
        ]
        for label, row in found.items()
    ]
    note = (
        "Medians of two separate runs in tokens a second. A shared machine may have changed "
        "between them, so a small difference is none."
    )
    return [Table(("", "A", "B", "B / A", ""), rows, frozenset({1, 2, 3})), Prose([note])]


def _made_from(pair: Pair) -> list[Block]:
    teacher = pair.b.facts.lineage.get("teacher_sha256")
    if teacher == pair.a.facts.sha256:
        return [Prose(["B was made from A: the sha256 in B's lineage is A's."])]
    return (
        [Prose([Text("B's lineage names another teacher than A.", kind="missing")])]
        if teacher
        else []
    )
