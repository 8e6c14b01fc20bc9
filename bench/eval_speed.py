"""What scoring requests together gives over one text at a time: the same likelihoods, and the time
of both.

    python bench/eval_speed.py [--model M] [--data FOLDER] [--rows 40] [--rounds 3] [--json FILE]

`alone` is the definition (`likelihood.score_alone`), `together` what `understudy eval` does. They
take turns; medians of seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import understudy
from understudy.judge.evaluate import TASKS
from understudy.judge.evaluate.datasets import load_rows
from understudy.judge.evaluate.likelihood import ModelScorer, Score, encode_pair, score_alone
from understudy.judge.evaluate.run import BATCH
from understudy.judge.evaluate.tasks import drawn
from understudy.report.provenance import machine

NAMES = ("hellaswag", "arc_easy", "piqa", "winogrande", "mmlu", "lambada")


class Alone(ModelScorer):
    """One text at a time."""

    def scores(self, requests: Any) -> list[Score]:
        return [score_alone(self.model, *encode_pair(self.model, *request)) for request in requests]


class _Judge:
    def __init__(self, scorer: ModelScorer) -> None:
        self.scorer = scorer


def seconds_and_lines(name: str, scorer: ModelScorer, rows: list[Any]) -> tuple[float, list[Any]]:
    started = time.perf_counter()
    lines: list[Any] = []
    for begin in range(0, len(rows), BATCH):
        lines += TASKS[name].score(_Judge(scorer), rows[begin : begin + BATCH])  # type: ignore[arg-type]
    return time.perf_counter() - started, lines


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = understudy.load(arguments.model)
    table = {}
    for name in NAMES:
        rows = drawn(name, load_rows(name, arguments.data).rows, arguments.rows)
        times: dict[str, list[float]] = {"alone": [], "together": []}
        for _ in range(arguments.rounds):
            alone, expected = seconds_and_lines(name, Alone(model), rows)
            together, found = seconds_and_lines(name, ModelScorer(model), rows)
            assert found == expected, name
            times["alone"].append(alone)
            times["together"].append(together)
        medians = {kind: round(statistics.median(values), 3) for kind, values in times.items()}
        ratio = round(
            statistics.median(
                a / t for a, t in zip(times["alone"], times["together"], strict=True)
            ),
            2,
        )
        table[name] = {"rows": len(rows), **medians, "ratio": ratio}
        print(name, json.dumps(table[name]), flush=True)
    if arguments.json:
        command = f"python bench/eval_speed.py --rows {arguments.rows} --rounds {arguments.rounds}"
        found = {"command": command, "model": model.path.name, "machine": machine(), "tasks": table}
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
