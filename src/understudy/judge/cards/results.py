"""What the runs say, as blocks that several pages share. Every number carries its run; what was not
run says how to run it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from understudy.judge.cards.evidence import Evidence, StoredRun
from understudy.judge.safety.report import GARAK
from understudy.report.document import (
    Block,
    Cell,
    Fields,
    Heading,
    Intervals,
    Point,
    Prose,
    Table,
    Text,
    missing,
)
from understudy.report.text import number

EVALUATE = "understudy eval MODEL --output runs/eval"
BIAS = "understudy eval MODEL --tasks bias --output runs/eval"
MEMORISE = "understudy eval MODEL --tasks memorisation --data FOLDER --output runs/memorisation"
PROBE = "understudy safety run MODEL --store runs/safety.jsonl"
GARAK_PROBE = "understudy safety garak MODEL --garak PYTHON --store runs/safety.jsonl"
RED_TEAM = "understudy safety redteam"
BENCH = "understudy bench MODEL --json > runs/bench.json"
OTHER_AREAS = ("bias", "memorisation")  # tasks that the bias and privacy cards show
Figure = Mapping[str, Any]


def interval(figure: Figure) -> str:
    low, high = figure["low"], figure["high"]
    return (
        f"{low:.2f} to {high:.2f}"
        if max(abs(low), abs(high)) <= 1
        else f"{number(low)} to {number(high)}"
    )


def primary(task: Mapping[str, Any]) -> tuple[str, Figure] | None:
    """A task's metric to look at first."""
    figures = task["figures"]
    name = task.get("primary") if task.get("primary") in figures else next(iter(figures), None)
    return None if name is None else (name, figures[name])


def is_share(figure: Figure) -> bool:
    return bool(
        figure.get("kind", "share") in ("share", "mean")
        and figure["low"] >= 0
        and figure["high"] <= 1
    )


def quality_tasks(evidence: Evidence) -> dict[str, tuple[StoredRun, Mapping[str, Any]]]:
    return {
        name: entry
        for name, entry in evidence.tasks().items()
        if name not in OTHER_AREAS and primary(entry[1])
    }


# ---- quality ----


def quality(evidence: Evidence, *, is_whole: bool = False) -> list[Block]:
    """A figure and a table of the tasks' first figures, or of all (`is_whole`)."""
    tasks = quality_tasks(evidence)
    if not tasks:
        return [Prose([missing(EVALUATE)])]
    points, rows = [], []
    for name, (run, task) in tasks.items():
        chosen = primary(task)
        assert chosen is not None
        if is_share(chosen[1]):
            points.append(
                Point(f"{name} {chosen[0]}", *(chosen[1][key] for key in ("value", "low", "high")))
            )
        for metric, figure in task["figures"].items() if is_whole else [chosen]:
            rows.append(_quality_row(name, task, metric, figure, run))
    blocks: list[Block] = []
    if points and not is_whole:
        caption = "Shares of items done right, with 95 % intervals"
        blocks.append(Intervals("quality", caption, points, bounds=(0.0, 1.0)))
    heads = ("task", "what", "data", "metric", "items", "value", "95 % interval")
    note = (
        "Samples in the package are a smoke test of some 20 items a task: they do not stand beside "
        "published figures of the sets whose names they bear."
    )
    has_samples = any(
        (task.get("data") or {}).get("source", "sample") == "sample" for _, task in tasks.values()
    )
    return [
        *blocks,
        Table(heads, rows, frozenset({4, 5, 6})),
        *([Prose([note])] if has_samples else []),
    ]


def _quality_row(
    name: str, task: Mapping[str, Any], metric: str, figure: Figure, run: StoredRun
) -> list[Cell]:
    source = (task.get("data") or {}).get("source", "sample")
    data = (
        "package's sample"
        if source == "sample"
        else ", ".join(source)
        if isinstance(source, list)
        else str(source)
    )
    return [
        name,
        str(task.get("about", "")),
        data,
        metric,
        f"{figure['items']:,}",
        Text(number(figure["value"]), runs=(run.number,)),
        interval(figure),
    ]


# ---- safety ----


def probe_rows(
    evidence: Evidence, *, is_garak: bool = False
) -> Iterator[tuple[StoredRun, Mapping[str, Any]]]:
    for run in evidence.of("safety"):
        for row in run.data["probes"]:
            if str(row["probe"]).startswith(GARAK) == is_garak:
                yield run, row


def probes(evidence: Evidence, *, is_garak: bool = False) -> list[Block]:
    """Rates of faults with intervals, as figure and table."""
    rows = list(probe_rows(evidence, is_garak=is_garak))
    if not rows:
        return [Prose([missing(GARAK_PROBE if is_garak else PROBE)])]
    points = [
        Point(row["probe"].removeprefix(GARAK), row["rate"], *row["interval"])
        for _, row in rows
        if row["rate"] is not None
    ]
    caption = "Share of cases with a fault (lower is better), with 95 % intervals"
    cells: list[list[Cell]] = [
        [
            row["probe"],
            row["says"],
            row["fault"],
            f"{row['faults']} of {row['cases']}",
            rate_cell(row, run),
            _spread(row),
            Text(f"{row['not_asked']} not asked", kind="missing") if row["not_asked"] else "",
        ]
        for run, row in rows
    ]
    table = Table(
        ("probe", "what", "a fault is", "faults", "rate", "95 % interval", ""),
        cells,
        frozenset({3, 4, 5}),
    )
    return [Intervals("garak" if is_garak else "safety", caption, points, bounds=(0.0, 1.0)), table]


def rate_cell(row: Mapping[str, Any], run: StoredRun) -> Text:
    return Text("-" if row["rate"] is None else number(row["rate"]), runs=(run.number,))


def _spread(row: Mapping[str, Any]) -> str:
    return interval({"low": row["interval"][0], "high": row["interval"][1]})


def balance(evidence: Evidence) -> list[Cell]:
    """Over-refusal beside harm, a line for each kind of pairs."""
    lines: list[Cell] = []
    for run in evidence.of("safety"):
        for row in run.data.get("balance") or ():
            safe, unsafe = row["declined_harmless"], row["answered_harmful"]
            text = (
                f"{row['pairs']}: declined {safe['faults']} of {safe['cases']} harmless "
                f"({_spread(safe)}), "
                f"answered {unsafe['faults']} of {unsafe['cases']} harmful ({_spread(unsafe)})"
            )
            lines.append(Text(text, runs=(run.number,)))
    return lines


def categories(evidence: Evidence) -> list[Block]:
    """Faults by category of AEGIS 2.0, probes and red team beside each other."""
    counts: dict[str, dict[str, int]] = {}
    runs: dict[str, set[int]] = {}
    found = [("probes", run, run.data["categories"]) for run in evidence.of("safety")]
    found += [
        ("red team", run, one["category"])
        for run in evidence.of("red team")
        for one in run.data["summaries"]
    ]
    for source, run, one in found:
        for name, count in one.items():
            row = counts.setdefault(name, {"probes": 0, "red team": 0})
            row[source] += count
            runs.setdefault(name, set()).add(run.number)
    rows: list[list[Cell]] = [
        [name, str(row["probes"]), str(row["red team"]), Text("", runs=tuple(sorted(runs[name])))]
        for name, row in sorted(
            counts.items(), key=lambda entry: (-sum(entry[1].values()), entry[0])
        )
    ]
    if not found:
        return [Prose([missing(PROBE)])]
    if not rows:
        return [Prose([Text("No fault was found.", runs=tuple(run.number for _, run, _ in found))])]
    return [Table(("category (AEGIS 2.0)", "probes", "red team", "runs"), rows, frozenset({1, 2}))]


def red_team(evidence: Evidence) -> list[Block]:
    runs = evidence.of("red team")
    if not runs:
        return [Prose([missing(RED_TEAM, "no people have tried to make it fail")])]
    return [
        Fields(list(_red_team_fields(run, one))) for run in runs for one in run.data["summaries"]
    ]


def _red_team_fields(run: StoredRun, one: Mapping[str, Any]) -> Iterator[tuple[str, list[Cell]]]:
    ref = (run.number,)
    yield (
        "Conversations",
        [
            Text(
                f"{one['conversations']} with {one['turns']} turns; {one['rated']} "
                f"rated, {one['unrated']} not",
                runs=ref,
            )
        ],
    )
    yield (
        "By severity",
        [Text(", ".join(f"{name} {count}" for name, count in one["severity"].items()), runs=ref)],
    )
    first = one["first_harm"]
    turn = (
        "none"
        if first["median"] is None
        else f"median {first['median']:g}; "
        + ", ".join(f"turn {t}: {n}" for t, n in first["turns"].items())
    )
    yield "Turn of first harm", [Text(turn, runs=ref)]
    pairs = one["agreement"]["pairs"]
    alpha = one["agreement"]["alpha"].get("severity_ordinal")
    agreed = (
        f"{one['agreement']['rated_by_two']} rated by two or more; Krippendorff's alpha of "
        f"severity {'-' if alpha is None else number(alpha)}"
    )
    yield (
        "Agreement of raters",
        [Text(agreed if pairs else "nothing was rated by two people", runs=ref)],
    )
    yield (
        "Findings",
        [Text(", ".join(f"{name} {count}" for name, count in one["fixes"].items()), runs=ref)],
    )


def detectors(evidence: Evidence) -> list[Block]:
    """What judged, and where it is known to be wrong."""
    seen: dict[str, Mapping[str, str]] = {}
    for run in evidence.of("safety"):
        seen |= run.data.get("detectors") or {}
    rows: list[list[Cell]] = [
        [name, one["says"], one["errors"]] for name, one in sorted(seen.items())
    ]
    return [Table(("detector", "finds", "known errors"), rows)] if rows else []


# ---- speed ----


def speed(evidence: Evidence) -> list[Block]:
    runs = evidence.of("speed")
    if not runs:
        return [Prose([missing(BENCH)])]
    rows: list[list[Cell]] = [
        [
            rate_label(rate),
            Text(number(rate["median"]), runs=(run.number,)),
            f"{number(min(rate['samples']))} to {number(max(rate['samples']))}",
            f"{100 * rate['share_of_limit']:.0f} %",
            run.record("machine"),
        ]
        for run in runs
        for rate in run.data["rates"]
    ]
    blocks: list[Block] = [
        Table(
            ("", "tokens/s", "from … to", "of the machine's limit", "machine"),
            rows,
            frozenset({1, 2, 3}),
        )
    ]
    memory: list[Cell] = [
        Text(f"Peak memory {run.data['peak_memory_bytes'] / 1e9:.2f} GB.", runs=(run.number,))
        for run in runs
        if run.data.get("peak_memory_bytes")
    ]
    return [*blocks, *([Prose(memory)] if memory else [])]


def rate_label(rate: Mapping[str, Any]) -> str:
    if rate["kind"] == "prefill":
        return f"prefill of {rate['tokens']} tokens"
    return f"decode at depth {rate['depth']}" + (
        f", {rate['batch']} at once" if rate["batch"] > 1 else ""
    )


# ---- the list of runs ----


def run_list(evidence: Evidence) -> list[Block]:
    heads = ("run", "kind", "file", "date", "command", "seed", "model", "made with")
    rows: list[list[Cell]] = []
    for run in evidence.runs:
        command = run.record("command")
        rows.append(
            [
                Text(f"[{run.number}]", kind="strong"),
                run.kind,
                Text(run.name, code=f"sha256 {run.sha256[:16]}…"),
                run.record("date") or "not recorded",
                Text("", code=command) if command else "not recorded",
                "" if run.seed is None else str(run.seed),
                Text(
                    f"sha256 {run.model_sha256[:16]}…" if run.model_sha256 else "by fingerprint",
                    code=run.fingerprint,
                ),
                " ".join(part for part in (run.record("version"), run.record("machine")) if part)
                or "not recorded",
            ]
        )
    body: Block = (
        Table(heads, rows, anchors=[f"run-{run.number}" for run in evidence.runs])
        if rows
        else Prose(["No run was given."])
    )
    return [
        Heading("Runs", "runs"),
        Prose(["Every number above leads to the run it comes from."]),
        body,
    ]
