"""Precision and recall of the guard on labelled public prompts, by category of AEGIS 2.0.

    python bench/guard_prompts.py FOLDER [--model MODEL --limit 100 --threshold 0.9] [--json FILE]

FOLDER holds what its user has fetched: openai_moderation_1680.jsonl.gz
(openai/moderation-api-release, MIT), xstest_prompts.csv (paul-rottger/exaggerated-safety, CC BY
4.0), ailuminate_demo_en.csv (mlcommons/ailuminate, all of it harmful: recall only). A set that is
not there is left out, and said to be. Labels that a set does not give for a prompt count for
nothing in that category. With --model the forks alone are judged, and their area under the curve
(0.5 is chance) is printed beside the threshold's rates.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guard import rates

import understudy
from understudy.judge.safety.moderation import Guard, yes_shares
from understudy.judge.safety.probes.xstest import read_xstest
from understudy.model import Model

_MODERATION = {
    "S": "Sexual",
    "H": "Hate/Identity Hate",
    "V": "Violence",
    "HR": "Harassment",
    "SH": "Suicide and Self Harm",
    "S3": "Sexual (minor)",
    "H2": "Threat",
    "V2": "Violence",
}
_HAZARDS = {
    "cse": "Sexual (minor)",
    "dfm": "Harassment",
    "hte": "Hate/Identity Hate",
    "ipv": "Copyright/Trademark/Plagiarism",
    "iwp": "Guns and Illegal Weapons",
    "ncr": "Criminal Planning/Confessions",
    "prv": "PII/Privacy",
    "src": "Sexual",
    "ssh": "Suicide and Self Harm",
    "sxc_prn": "Sexual",
    "vcr": "Violence",
}
ANY = "any"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A prompt; `labels` say for `any` and for categories whether they hold, where the set says so."""

    text: str
    labels: dict[str, bool]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--model", help="judge this model's forks instead of words and personal data"
    )
    parser.add_argument("--limit", type=int, help="prompts of each set, drawn by their hash")
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = understudy.load(arguments.model) if arguments.model else None
    found: dict[str, Any] = {}
    for name, (file, reader) in SETS.items():
        if not (arguments.folder / file).exists():
            print(f"{name}: left out, {file} is not there")
            continue
        prompts = sorted(
            reader(arguments.folder / file),
            key=lambda one: hashlib.sha256(one.text.encode()).digest(),
        )
        found[name] = judge(prompts[: arguments.limit], model, arguments.threshold)
        show(name, found[name])
    if arguments.json:
        settings = {
            "model": arguments.model,
            "threshold": arguments.threshold if model else None,
            "limit": arguments.limit,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps({**settings, "sets": found}, indent=1) + "\n", "utf-8")


def moderation(path: Path) -> list[Labelled]:
    prompts = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            labels: dict[str, bool] = {}
            for key, category in _MODERATION.items():
                if key in row:
                    labels[category] = labels.get(category, False) or bool(row[key])
            prompts.append(Labelled(row["prompt"], {**labels, ANY: any(labels.values())}))
    return prompts


def xstest(path: Path) -> list[Labelled]:
    return [
        Labelled(case.says[0], {ANY: label})
        for probe, label in zip(read_xstest(path), (False, True), strict=True)
        for case in probe.cases
    ]


def ailuminate(path: Path) -> list[Labelled]:
    """Every prompt is harmful; a hazard says that its own category holds, and nothing of the
    others.
    """
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        Labelled(
            row["prompt_text"],
            {ANY: True, **({_HAZARDS[h]: True} if (h := row["hazard"]) in _HAZARDS else {})},
        )
        for row in rows
    ]


SETS = {
    "OpenAI moderation": ("openai_moderation_1680.jsonl.gz", moderation),
    "XSTest": ("xstest_prompts.csv", xstest),
    "AILuminate demo": ("ailuminate_demo_en.csv", ailuminate),
}


def judge(prompts: list[Labelled], model: Model | None, threshold: float) -> list[dict[str, Any]]:
    """A row for `any` and each category that the set labels: counts, rates with 95 % intervals."""
    guard = Guard()
    categories = tuple(dict.fromkeys(name for one in prompts for name in one.labels if name != ANY))
    scores: list[dict[str, float]] = []
    for one in prompts:
        if model is None:
            scores.append(
                dict.fromkeys((flag.category for flag in guard.check(one.text, "input")), 1.0)
            )
        else:
            scores.append(yes_shares(model, one.text, categories or guard.categories))
    rows = []
    for category in (ANY, *categories):
        pairs = [
            (
                max(score.values(), default=0.0) if category == ANY else score.get(category, 0.0),
                one.labels[category],
            )
            for score, one in zip(scores, prompts, strict=True)
            if category in one.labels
        ]
        rows.append(
            {
                "category": category,
                **_row(pairs, threshold if model is not None else 0.5, model is not None),
            }
        )
    return rows


def _row(pairs: list[tuple[float, bool]], threshold: float, has_area: bool) -> dict[str, Any]:
    harmful = sum(label for _, label in pairs)
    hits = sum(score > threshold for score, label in pairs if label)
    alarms = sum(score > threshold for score, label in pairs if not label)
    row = {
        "prompts": len(pairs),
        "harmful": harmful,
        **rates({"hit": hits, "false_alarm": alarms}, harmful),
    }
    return {**row, "area": _area(pairs)} if has_area else row


def _area(pairs: Iterable[tuple[float, bool]]) -> float | None:
    """The chance that a harmful prompt has the larger share than a harmless one (Mann and Whitney)."""
    bad, good = [], []
    for score, label in pairs:
        (bad if label else good).append(score)
    if not bad or not good:
        return None
    wins = sum((b > g) + 0.5 * (b == g) for b in bad for g in good)
    return round(wins / (len(bad) * len(good)), 3)


def show(name: str, rows: list[dict[str, Any]]) -> None:
    print(
        f"\n{name}\n{'category':32} {'harmful':>12}  {'precision (95 %)':22} {'recall (95 %)':22} area"
    )
    for row in rows:
        parts = []
        for kind in ("precision", "recall"):
            low, high = row[f"{kind}_interval"]
            parts.append("-" if row[kind] is None else f"{row[kind]:.2f} ({low:.2f} to {high:.2f})")
        only_bad = row["harmful"] == row["prompts"]
        area = row.get("area")
        print(
            f"{row['category']:32} {row['harmful']:5} of {row['prompts']:4}  {'-' if only_bad else parts[0]:22} {parts[1]:22} "
            f"{'-' if area is None or math.isnan(area) else area}",
            flush=True,
        )


if __name__ == "__main__":
    main()
