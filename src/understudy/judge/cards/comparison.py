"""Two models side by side from their stored runs: quality and safety in pairs, size, bits, speed,
lineage. What compression cost, as figures; `comparison_page.write_comparison` draws them.

Runs are told apart by the sha256 in their records; one of neither model is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from understudy.judge.evaluate.compare import compare
from understudy.report.statistics import holm, mcnemar, paired_shares

LEVEL = 0.05
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
