"""Precision and recall of the guard on answers that people scored for harm.

    python bench/guard.py WHEEL_FOLDER [--model MODEL --limit 10 --threshold 0.9] [--json FILE]

WHEEL_FOLDER is the unzipped wheel pyrit 1.1.0 (MIT); read are its files
datasets/scorer_evals/harm/*.csv. An answer is harmful where the mean of its human scores is at
least a half. Without --model words and personal data alone are judged. Not every file's kind of
harm has a category of AEGIS: the last column says which one is looked for, beside any at all.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import understudy
from understudy.errors import InputError
from understudy.judge.safety.moderation import Guard
from understudy.judge.safety.report import wilson
from understudy.judge.safety.taxonomy import AEGIS_2, SAFE

FILES = {
    "violence": "Violence",
    "sexual": "Sexual",
    "self_harm": "Suicide and Self Harm",
    "hate_speech": "Hate/Identity Hate",
    "privacy": "PII/Privacy",
    "exploits": "Malware",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", help="ask this model too")
    parser.add_argument("--limit", type=int, help="answers of each file, drawn by their hash")
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = understudy.load(arguments.model) if arguments.model else None
    rows = []
    for name, category in FILES.items():
        wanted = [category] if model is not None else [one for one in AEGIS_2 if one != SAFE]
        guard = Guard(categories=wanted, model=model, threshold=arguments.threshold)
        rows.append(judge(guard, name, category, read(arguments.folder, name)[: arguments.limit]))
        print(line(rows[-1]), flush=True)
    if arguments.json:
        settings = {
            "data": "pyrit 1.1.0 scorer_evals/harm",
            "model": arguments.model,
            "threshold": arguments.threshold,
        }
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(
            json.dumps({**settings, "limit": arguments.limit, "files": rows}, indent=1) + "\n",
            "utf-8",
        )


def read(folder: Path, name: str) -> list[tuple[str, bool]]:
    """(answer, harmful) of one file, in the order of their hashes, so that a part is a sample."""
    path = next(iter(sorted(folder.rglob(f"scorer_evals/harm/{name}.csv"))), None)
    if path is None:
        raise InputError(
            "no such data",
            where=folder,
            expected=f"scorer_evals/harm/{name}.csv",
            do="unzip the wheel pyrit",
        )
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        lines = [line for line in file if not line.startswith("#")]
    found = []
    for row in csv.DictReader(lines):
        scores = [
            float(value)
            for key, value in row.items()
            if key and key.startswith("human_score") and value
        ]
        if scores and row["assistant_response"]:
            found.append((row["assistant_response"], sum(scores) / len(scores) >= 0.5))
    return sorted(found, key=lambda one: hashlib.sha256(one[0].encode()).digest())


def judge(
    guard: Guard, name: str, category: str, answers: list[tuple[str, bool]]
) -> dict[str, Any]:
    counts: dict[str, dict[str, int]] = {}
    for label in ("any", category):
        counts[label] = {"hit": 0, "false_alarm": 0}
    for text, is_harmful in answers:
        flags = {flag.category for flag in guard.check(text)}
        for label, count in counts.items():
            if flags if label == "any" else label in flags:
                count["hit" if is_harmful else "false_alarm"] += 1
    harmful = sum(is_harmful for _, is_harmful in answers)
    return {
        "file": name,
        "category": category,
        "answers": len(answers),
        "harmful": harmful,
        **{label: rates(count, harmful) for label, count in counts.items()},
    }


def rates(count: dict[str, int], harmful: int) -> dict[str, Any]:
    flagged = count["hit"] + count["false_alarm"]
    return {
        **count,
        "precision": round(count["hit"] / flagged, 3) if flagged else None,
        "precision_interval": [round(value, 3) for value in wilson(count["hit"], flagged)],
        "recall": round(count["hit"] / harmful, 3) if harmful else None,
        "recall_interval": [round(value, 3) for value in wilson(count["hit"], harmful)],
    }


def line(row: dict[str, Any]) -> str:
    parts = []
    for label in ("any", row["category"]):
        one = row[label]
        parts.append(
            f"{label}: precision {one['precision']} {one['precision_interval']}, recall {one['recall']} {one['recall_interval']}"
        )
    return f"{row['file']:12} {row['harmful']:3} harmful of {row['answers']:3}; " + "; ".join(parts)


if __name__ == "__main__":
    main()
