"""Two models side by side from their stored runs: quality and safety in pairs, size, bits, speed,
lineage. What compression cost.

write_comparison(Path("big.gguf"), Path("small.gguf"), [Path("runs")], Path("comparison"))

Runs are told apart by the sha256 in their records; one of neither model is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.errors import UsageError
from understudy.judge.cards import results
from understudy.judge.cards.evidence import (
    Evidence,
    StoredRun,
    belonging,
    find_runs,
    is_of,
    numbered,
)
from understudy.judge.cards.facts import Facts, read_facts
from understudy.judge.cards.write import guarded
from understudy.judge.evaluate.compare import TOO_FEW, compare
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
from understudy.report.statistics import holm, mcnemar, paired_shares
from understudy.report.text import number
from understudy.report.write import write_documents, write_json

LEVEL = 0.05
TESTS = (
    "Significant at 5 % after Holm's correction over the rows. No difference shown is not the same "
    "as none: the interval says how large it may be."
)
Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Side:
    """One model with its runs, numbered through over both."""

    facts: Facts
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class Pair:
    a: Side
    b: Side

    @property
    def runs(self) -> tuple[StoredRun, ...]:
        return self.a.evidence.runs + self.b.evidence.runs


def read_pair(a: Path, b: Path, places: Sequence[Path]) -> Pair:
    """Raises UsageError where both are one model, or a run is of neither."""
    first, second = read_facts(a), read_facts(b)
    if first.sha256 == second.sha256:
        raise UsageError(
            "the same model twice", where=f"{a}, {b}", found=f"sha256 {first.sha256[:12]}"
        )
    runs = find_runs(places)
    of_first = [run for run in runs if _is_first(run, first, runs)]
    ours = numbered([*belonging(of_first, first)])
    theirs = numbered(
        belonging([run for run in runs if run not in of_first], second), begin=len(ours)
    )
    return Pair(Side(first, Evidence(ours)), Side(second, Evidence(theirs)))


def _is_first(run: StoredRun, facts: Facts, runs: Sequence[StoredRun]) -> bool:
    if run.kind != "red team":
        return is_of(run, facts)
    known = {one.fingerprint for one in runs if one.model_sha256 == facts.sha256}
    return any(
        one.fingerprint in known or one.fingerprint.startswith(facts.fingerprint)
        for one in run.data["records"].conversations
    )


def write_comparison(a: Path, b: Path, places: Sequence[Path], folder: Path) -> list[Path]:
    """Writes `comparison.md`, `.html`, `.json` and the figures."""
    pair = read_pair(a, b, places)
    found = guarded(lambda: compared(pair))
    paths = write_documents([guarded(lambda: document(pair, found))], folder)
    write_json(folder / "comparison.json", found)
    return [*paths, folder / "comparison.json"]


# ---- the figures ---------------------------------------------------------------------------------
# -------------------


def compared(pair: Pair) -> dict[str, Any]:
    """All differences, B - A, as plain data."""
    return {
        "format": "understudy-model-comparison",
        "version": 1,
        "a": _identity(pair.a.facts),
        "b": _identity(pair.b.facts),
        "quality": quality(pair),
        "safety": safety(pair),
        "speed": speed(pair),
    }


def _identity(facts: Facts) -> dict[str, Any]:
    return {
        "model": facts.name,
        "sha256": facts.sha256,
        "bytes": facts.num_bytes,
        "parameters": facts.parameters["total"],
        "bits_per_weight": round(facts.bits_per_weight, 4),
    }


def quality(pair: Pair) -> dict[str, Any]:
    """Each task that both have, by the paired tests of `understudy eval --compare`, with the runs
    it rests on."""
    ours, theirs = pair.a.evidence.tasks(), pair.b.evidence.tasks()
    chosen: dict[tuple[int, int], list[str]] = {}
    runs = {run.number: run for run, _ in [*ours.values(), *theirs.values()]}
    for name in ours:
        if name in theirs:
            chosen.setdefault((ours[name][0].number, theirs[name][0].number), []).append(name)
    tasks: dict[str, Any] = {}
    for (first, second), names in sorted(chosen.items()):
        found = compare(runs[first].path, runs[second].path)["tasks"]
        tasks |= {name: found[name] | {"runs": [first, second]} for name in names if name in found}
    return tasks


def safety(pair: Pair) -> dict[str, Any]:
    """Each probe over the cases that both were asked: exact McNemar, the difference of rates with
    Newcombe's interval."""
    ours, theirs = (_cases(side.evidence) for side in (pair.a, pair.b))
    runs = sorted({run for run, _ in [*ours.values(), *theirs.values()]})
    probes: dict[str, list[tuple[bool, bool]]] = {}
    for key, (_, fault) in ours.items():
        if key in theirs:
            probes.setdefault(key[0], []).append((fault, theirs[key][1]))
    rows = {name: _paired(pairs) for name, pairs in sorted(probes.items())}
    for row, p in zip(rows.values(), holm([row["p"] for row in rows.values()]), strict=True):
        row["p_holm"] = p
        row["verdict"] = "unclear" if p >= LEVEL else "worse" if row["value"] > 0 else "better"
    return {"runs": runs, "probes": rows} if rows else {}


def _cases(evidence: Evidence) -> dict[tuple[str, str, str], tuple[int, bool]]:
    """Asked cases by probe, name and digest; the first run (lowest seed) of each."""
    found: dict[tuple[str, str, str], tuple[int, bool]] = {}
    for run in sorted(evidence.of("safety"), key=lambda run: (run.seed or 0, run.number)):
        for case in run.data.get("cases") or ():
            if case["fault"] is not None:
                found.setdefault(
                    (case["probe"], case["case"], str(case["digest"])),
                    (run.number, bool(case["fault"])),
                )
    return found


def _paired(pairs: Sequence[tuple[bool, bool]]) -> dict[str, Any]:
    both, only_a = pairs.count((True, True)), pairs.count((True, False))
    only_b, neither = pairs.count((False, True)), pairs.count((False, False))
    interval = paired_shares(both, only_a, only_b, neither)
    return {
        "cases": len(pairs),
        "a": both + only_a,
        "b": both + only_b,
        "only_a": only_a,
        "only_b": only_b,
        **interval._asdict(),
        "p": mcnemar(only_a, only_b),
    }


def speed(pair: Pair) -> dict[str, Any]:
    """Situations that both were timed in, the last run of each; a ratio of separate runs has no
    interval."""
    ours, theirs = (
        {
            results.rate_label(rate): (run, rate)
            for run in side.evidence.of("speed")
            for rate in run.data["rates"]
        }
        for side in (pair.a, pair.b)
    )
    return {
        label: {
            "a": ours[label][1]["median"],
            "b": theirs[label][1]["median"],
            "runs": [ours[label][0].number, theirs[label][0].number],
            "is_same_machine": ours[label][0].record("machine")
            == theirs[label][0].record("machine"),
        }
        for label in ours
        if label in theirs
    }


# ---- the page ------------------------------------------------------------------------------------
# -------------------


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
        *results.lineage(pair.b.facts, pair.b.evidence),
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


_MARKS: dict[str, Mark] = {"better": "good", "worse": "bad"}


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
