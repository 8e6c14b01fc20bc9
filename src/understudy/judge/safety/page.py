"""A safety report as blocks: rates with intervals first, then what was found, case by case."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from understudy.judge.safety.report import GARAK, SafetyReport
from understudy.report.document import (
    Bar,
    Bars,
    Block,
    Cell,
    Folded,
    Heading,
    Intervals,
    KeyFigure,
    KeyFigures,
    Point,
    Prose,
    Quote,
    ReportDocument,
    Table,
    Text,
)
from understudy.report.html import to_html

Row = Mapping[str, Any]


def to_page(report: SafetyReport) -> str:
    """The report as one HTML page. ASCII only."""
    return to_html(document(report))


def document(report: SafetyReport) -> ReportDocument:
    content = report.to_document()
    blocks: list[Block] = [
        *_summary(content),
        *_probes(content["probes"]),
        *_balance(content["balance"]),
    ]
    blocks += [*_categories(content["categories"]), *_findings(content["findings"])]
    blocks += _detectors(content["detectors"])
    about = f"Fingerprint {content['fingerprint']}, seed {content['seed']}{_made(content)}"
    return ReportDocument("safety", f"Safety of {content['model']}", about, blocks)


def _made(content: Row) -> str:
    runs, again = content["runs"], content["judged_again"]
    when = ""
    if runs:
        when = f"; asked from {runs[0].get('date')} with version {runs[-1].get('version')}"
    if again is None:
        return when
    kept = f"{again['kept']} keep their first judgement"
    return f"{when}; judged again on {again['date']}: {again['cases']} stored answers, {kept}"


def _summary(content: Row) -> Iterator[Block]:
    rows = content["probes"]
    if not rows:
        return
    cases, faults = (sum(row[name] for row in rows) for name in ("cases", "faults"))
    yield Heading("At a glance")
    tiles = [
        KeyFigure("cases asked", f"{cases:,}", f"{len(rows)} probes"),
        KeyFigure("faults", f"{faults:,}"),
    ]
    worst = max(
        (row for row in rows if row["rate"] is not None), key=lambda row: row["rate"], default=None
    )
    if worst is not None:
        low, high = worst["interval"]
        spread = f"{worst['rate']:.2f} ({low:.2f} to {high:.2f})"
        tiles.append(KeyFigure("highest rate of faults", str(worst["probe"]), spread))
    if missed := sum(row["not_asked"] for row in rows):
        tiles.append(KeyFigure("could not be asked", f"{missed:,}", kind="bad"))
    yield KeyFigures(tiles)


def _probes(rows: list[Row]) -> Iterator[Block]:
    points = [
        Point(str(row["probe"]).removeprefix(GARAK), row["rate"], *row["interval"])
        for row in rows
        if row["rate"] is not None
    ]
    caption = "Share of cases with a fault (lower is better), with 95 % intervals"
    if points:
        yield Intervals("probes", caption, points, bounds=(0.0, 1.0))
    cells = [_probe_cells(row) for row in rows]
    heads = ("probe", "what", "a fault is", "faults", "rate (95 %)", "not asked")
    yield Folded("Every probe", [Table(heads, cells, frozenset({3, 4, 5}))])


def _probe_cells(row: Row) -> list[Cell]:
    low, high = row["interval"]
    rate = "-" if row["rate"] is None else f"{row['rate']:.2f}"
    return [
        str(row["probe"]),
        str(row["says"]),
        str(row["fault"]),
        f"{row['faults']} of {row['cases']}",
        f"{rate} ({low:.2f} to {high:.2f})",
        str(row["not_asked"]),
    ]


def _balance(rows: list[Row]) -> Iterator[Block]:
    """Over-refusal beside harm: neither says anything without the other."""
    if not rows:
        return
    cells: list[list[Cell]] = []
    for row in rows:
        shown = []
        for name in ("declined_harmless", "answered_harmful"):
            low, high = row[name]["interval"]
            shown.append(f"{row[name]['faults']} of {row[name]['cases']} ({low:.2f} to {high:.2f})")
        cells.append([str(row["pairs"]), *shown])
    yield Heading("Over-refusal beside harm")
    yield Table(("pairs", "harmless, declined", "harmful, answered"), cells, frozenset({1, 2}))


def _categories(counts: Mapping[str, int]) -> Iterator[Block]:
    yield Heading("Faults by category (AEGIS 2.0)")
    if not counts:
        yield Prose(["None."])
        return
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))
    bars = [Bar(name, count, str(count)) for name, count in ranked]
    yield Bars("categories", "Faults of each category", bars)


def _findings(rows: list[Row]) -> Iterator[Block]:
    yield Heading("Findings")
    if not rows:
        yield Prose(["None."])
    for row in rows:
        found = (f"{hit['detector']}: {', '.join(hit['found'])}" for hit in row["hits"])
        why = row["error"] or "; ".join(found)
        category = f"{row['aegis_2']} (AEGIS 1.0: {_words(row['aegis_1'])})."
        blocks: list[Block] = [Prose([category, why])]
        blocks += [Quote(str(text), "said", 2000) for text in row["says"]]
        blocks.append(Quote(str(row.get("answer", "")), "answered", 2000))
        if row["calls"]:
            blocks.append(Prose([Text("Calls:", code=json.dumps(row["calls"]))]))
        yield Folded(f"{row['probe']} / {row['case']}", blocks)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _detectors(detectors: Mapping[str, Row]) -> Iterator[Block]:
    yield Heading("Detectors and their known errors")
    cells: list[list[Cell]] = [
        [name, ", ".join(one["versions"]), str(one["says"]), str(one["errors"])]
        for name, one in detectors.items()
    ]
    yield Folded("What judged", [Table(("detector", "version", "finds", "known errors"), cells)])
