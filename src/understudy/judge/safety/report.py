"""What a stored run says, and nothing else: the same lines give the same bytes, as JSON, as a table
and as a page.

    report.to_json(), report.table(), page.to_page(report)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from understudy.judge.safety.detectors import DETECTORS
from understudy.judge.safety.taxonomy import to_aegis_1
from understudy.report.statistics import wilson
from understudy.report.text import visible

BALANCES = {"own pairs": ("over-refusal", "refusal"), "XSTest": ("xstest-safe", "xstest-unsafe")}
GARAK = "garak:"  # before names of garak's probes and detectors
GARAK_ERRORS = (
    "Matches strings, as garak's documentation says; read the answers before you quote the rate."
)
MITIGATION_ERRORS = (
    "Keywords of refusals: an answer that neither refuses nor helps is a hit; misleads most with "
    "small models."
)


class SafetyReport:
    """Built from the lines of one model's run with one seed, in any order.

    A case counts once: where it was changed and asked again, by its last line.
    """

    def __init__(self, lines: Iterable[Mapping[str, Any]]) -> None:
        last = {(line["probe"], line["case"]): line for line in lines}
        self.lines = [last[place] for place in sorted(last)]

    @property
    def probes(self) -> list[dict[str, Any]]:
        """A row for each probe: cases, faults, their rate with a 95 % interval, and cases that
        could not be asked."""
        rows = []
        for name in dict.fromkeys(line["probe"] for line in self.lines):
            lines = [line for line in self.lines if line["probe"] == name]
            asked = [line for line in lines if line["error"] is None]
            faults = sum(bool(line["hits"]) for line in asked)
            low, high = wilson(faults, len(asked))[1:] if asked else (0.0, 1.0)
            rows.append(
                {
                    "probe": name,
                    "says": lines[0]["probe_says"],
                    "fault": lines[0]["fault"],
                    "cases": len(asked),
                    "faults": faults,
                    "rate": round(faults / len(asked), 4) if asked else None,
                    "interval": [round(low, 4), round(high, 4)],
                    "not_asked": len(lines) - len(asked),
                }
            )
        return rows

    @property
    def findings(self) -> list[dict[str, Any]]:
        """The faults and what could not be asked, each under its categories in AEGIS 2.0 and
        1.0."""
        rows = []
        for line in self.lines:
            if not line["hits"] and line["error"] is None:
                continue
            rows.append(
                {
                    "key": line["key"],
                    "probe": line["probe"],
                    "case": line["case"],
                    "aegis_2": line["category"],
                    "aegis_1": to_aegis_1(line["category"]),
                    "says": line["says"],
                    "answer": line["answer"],
                    "calls": line["calls"],
                    "hits": line["hits"],
                    "error": line["error"],
                }
            )
        return rows

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Each case with its fault or none (null: could not be asked), so that two models can be
        compared case by case."""
        return [
            {
                "probe": line["probe"],
                "case": line["case"],
                "digest": line.get("digest"),
                "fault": bool(line["hits"]) if line["error"] is None else None,
            }
            for line in self.lines
        ]

    @property
    def balance(self) -> list[dict[str, Any]]:
        """Over-refusal beside harm: of the same kind of pairs, how many harmless were declined and
        how many harmful were not."""
        rows = {row["probe"]: row for row in self.probes}
        return [
            {
                "pairs": name,
                "declined_harmless": _rate(rows[safe]),
                "answered_harmful": _rate(rows[unsafe]),
            }
            for name, (safe, unsafe) in BALANCES.items()
            if safe in rows and unsafe in rows
        ]

    @property
    def judged_again(self) -> dict[str, Any] | None:
        """How many answers were judged a second time, when last, and how many were not; None where
        all judgements are first ones."""
        dates = [line["judged"] for line in self.lines if "judged" in line]
        return (
            {"cases": len(dates), "kept": len(self.lines) - len(dates), "date": max(dates)}
            if dates
            else None
        )

    @property
    def detectors(self) -> dict[str, dict[str, Any]]:
        """What judged: its known errors and the versions that the stored judgements were made
        with."""
        used: dict[str, set[str]] = {}
        for line in self.lines:
            for name, version in line.get("detectors", {}).items():
                used.setdefault(name, set()).add(str(version))
        rows = {
            name: {"says": one.says, "errors": one.errors, "versions": sorted(used.get(name, ()))}
            for name, one in DETECTORS.items()
        }
        for name in sorted(name for name in used if name.startswith(GARAK)):
            errors = MITIGATION_ERRORS if ".MitigationBypass" in name else GARAK_ERRORS
            rows[name] = {
                "says": "a detector of garak's",
                "errors": errors,
                "versions": sorted(used[name]),
            }
        return rows

    @property
    def categories(self) -> dict[str, int]:
        """Faults by category of AEGIS 2.0, by name."""
        names = sorted(line["category"] for line in self.lines if line["hits"])
        return {name: names.count(name) for name in dict.fromkeys(names)}

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The records of the runs that asked these cases (`provenance.describe_run`), the earliest
        first; old lines have none."""
        records = {
            json.dumps(line["run"], sort_keys=True) for line in self.lines if line.get("run")
        }
        return sorted(map(json.loads, sorted(records)), key=lambda record: str(record.get("date")))

    def to_document(self) -> dict[str, Any]:
        first = self.lines[0] if self.lines else {}
        return {
            "model": first.get("model"),
            "fingerprint": first.get("fingerprint"),
            "seed": first.get("seed"),
            "runs": self.runs,
            "judged_again": self.judged_again,
            "probes": self.probes,
            "balance": self.balance,
            "categories": self.categories,
            "cases": self.cases,
            "findings": self.findings,
            "detectors": self.detectors,
        }

    def to_json(self, *, with_answers: bool = True) -> str:
        """ASCII only, so that nothing in an answer can act on a terminal. Without answers it can be
        published."""
        document = self.to_document()
        if not with_answers:
            document["findings"] = [
                {k: v for k, v in row.items() if k != "answer"} for row in document["findings"]
            ]
        return json.dumps(document, indent=1) + "\n"

    def table(self) -> str:
        """Rows for a terminal."""
        lines = [
            f"{'probe':24} {'cases':>5} {'faults':>6}  {'rate':>5}  95 % interval   a fault is"
        ]
        for row in self.probes:
            low, high = row["interval"]
            rate = "    -" if row["rate"] is None else f"{row['rate']:5.2f}"
            missing = f" ({row['not_asked']} could not be asked)" if row["not_asked"] else ""
            lines.append(
                f"{visible(row['probe']):24} {row['cases']:5} {row['faults']:6}  {rate}  {low:.2f} "
                f"to {high:.2f}    "
                f"{visible(row['fault'])}{missing}"
            )
        return "\n".join([*lines, *self._balance_lines(), *self._again_lines()]) + "\n"

    def _balance_lines(self) -> list[str]:
        return [
            f"{row['pairs']}: declined {_shown_rate(row['declined_harmless'])} of the harmless, "
            f"answered {_shown_rate(row['answered_harmful'])} of the harmful"
            for row in self.balance
        ]

    def _again_lines(self) -> list[str]:
        again = self.judged_again
        kept = (
            f"; {again['kept']} keep their first judgement"
            if again is not None and again["kept"]
            else ""
        )
        return (
            []
            if again is None
            else [
                f"judged again on {visible(again['date'])}: {again['cases']} stored answers{kept}"
            ]
        )


def _rate(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("faults", "cases", "rate", "interval")}


def _shown_rate(row: Mapping[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['faults']} of {row['cases']} ({low:.2f} to {high:.2f})"
