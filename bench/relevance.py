"""Fits and checks the gate of `generation/relevance.py`: does a message want one of the tools?

    python bench/relevance.py --bfcl DATA --seal FOLDER [--talk persona_chat.csv] [--write
    bench/results/relevance.json]

`--bfcl` is `bfcl_eval/data` of the wheel bfcl-eval (Apache-2.0), `--seal` a folder with
`sealtools_dev.jsonl` and `sealtools_tool.jsonl` of Seal-Tools (Apache-2.0), `--talk` the validation
file of Synthetic-Persona-Chat (CC BY 4.0). All are read as data; none is in this repository. A
message is wanted with the tools that its set offers (Seal-Tools: its own among four others), and
not wanted in BFCL's irrelevance sets, with Seal-Tools' message and only foreign tools, and where a
line of small talk meets random tools. Two halves by message: each is scored by the weights fitted
on the other.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from understudy.generation import relevance
from understudy.text.embed import open_embedder

WANTED = [
    "simple_python",
    "multiple",
    "live_simple",
    "live_multiple",
    "parallel",
    "parallel_multiple",
    "live_relevance",
]
UNWANTED = ["irrelevance", "live_irrelevance"]
WEIGHT = {"irrelevance": 2.0, "live_irrelevance": 1.0, "seal away": 1.5, "talk": 3.0}
TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


@dataclass(frozen=True)
class Described:
    name: str
    description: str
    parameters: dict[str, Any]


Item = tuple[str, float, str, list[Described]]  # source, wanted, message, tools


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bfcl", type=Path, required=True)
    parser.add_argument("--seal", type=Path, required=True)
    parser.add_argument("--talk", type=Path)
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    items = [
        item
        for item in (
            *of_bfcl(arguments.bfcl),
            *of_seal(arguments.seal),
            *(of_talk(arguments.talk, arguments.seal) if arguments.talk else ()),
        )
        if item[3]
    ]
    report = {
        "vectors and words": study(items, open_embedder("wordllama")),
        "words only": study(items, None),
    }
    print(json.dumps(report, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(report, indent=1) + "\n")


def study(items: list[Item], embedder: Any) -> dict[str, Any]:
    """Weights of all items, and the shares above thresholds of each half under the weights of the
    other.
    """
    x = np.array([best_row(message, tools, embedder) for _, _, message, tools in items])
    y = np.array([item[1] for item in items])
    source = np.array([item[0] for item in items])
    weight = np.array([WEIGHT.get(s, 1.2) / np.sum(source == s) for s in source])
    half = np.random.default_rng(0).integers(0, 2, len(y))
    score = np.zeros(len(y))
    for part in (0, 1):
        chosen = half != part
        score[~chosen] = x[~chosen] @ fit(x[chosen], y[chosen], weight[chosen])
    shares = {
        str(threshold): {
            s: round(float(np.mean(score[source == s] > threshold)), 3) for s in sorted(set(source))
        }
        for threshold in (-2.0, relevance.UNLIKELY, -1.0, -0.5, relevance.SURE, 0.5)
    }
    return {
        "counts": dict(Counter(source.tolist())),
        "weights": [round(float(w), 2) for w in fit(x, y, weight)],
        "above": shares,
    }


def best_row(message: str, tools: list[Described], embedder: Any) -> np.ndarray:
    """The features of the tool that the gate takes for the nearest."""
    rows = relevance._Tools(tools, embedder).features(message, embedder)
    weights = relevance.WEIGHTS if embedder is not None else relevance.WORDS_ONLY
    return rows[int(np.argmax(rows @ weights))]


def fit(x: np.ndarray, y: np.ndarray, weight: np.ndarray, ridge: float = 2e-4) -> np.ndarray:
    """Weighted logistic regression by Newton's steps."""
    weight = weight / weight.sum()
    theta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ theta)))
        gradient = x.T @ (weight * (p - y)) + ridge * theta
        curvature = (x * (weight * p * (1 - p) + 1e-9)[:, None]).T @ x
        theta -= np.linalg.solve(curvature + ridge * np.eye(len(theta)), gradient)
    return theta


def of_bfcl(folder: Path) -> Iterator[Item]:
    for name in WANTED + UNWANTED:
        for line in (folder / f"BFCL_v4_{name}.json").read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            turns = entry["question"]
            while turns and isinstance(turns[0], list):
                turns = turns[0]
            said = [turn["content"] for turn in turns if turn["role"] == "user"]
            tools = [
                Described(t["name"], t["description"], t["parameters"]) for t in entry["function"]
            ]
            if said:
                yield name, float(name in WANTED), said[-1], tools


def seal_tools(folder: Path) -> dict[str, Described]:
    tools = {}
    for line in (folder / "sealtools_tool.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        properties = {
            name: {
                "type": TYPES.get(inner.get("type"), "string"),
                "description": inner.get("description", ""),
            }
            for name, inner in entry["parameters"].items()
        }
        schema = {
            "type": "object",
            "properties": properties,
            "required": entry.get("required", []),
        }
        tools[entry["api_name"]] = Described(entry["api_name"], entry["api_description"], schema)
    return tools


def of_seal(folder: Path) -> Iterator[Item]:
    tools, chance = seal_tools(folder), random.Random(0)
    for line in (folder / "sealtools_dev.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        gold = list(dict.fromkeys(c["api"] for c in entry["calling"] if c["api"] in tools))
        others = [name for name in chance.sample(list(tools), 8) if name not in gold]
        if gold:
            offered = gold + others[:4]
            chance.shuffle(offered)
            yield "seal", 1.0, entry["query"], [tools[name] for name in offered]
            yield "seal away", 0.0, entry["query"], [tools[name] for name in others[:6]]


def of_talk(path: Path, seal: Path, most: int = 1500) -> Iterator[Item]:
    tools, chance = list(seal_tools(seal).values()), random.Random(1)
    with path.open(encoding="utf-8", newline="") as file:
        lines = [
            re.sub(r"^User \d: ?", "", line).strip()
            for row in csv.DictReader(file)
            for line in row["Best Generated Conversation"].split("\n")
        ]
    for line in chance.sample([line for line in lines if 4 < len(line) < 300], most):
        yield "talk", 0.0, line, chance.sample(tools, chance.choice([1, 3, 5, 8]))


if __name__ == "__main__":
    main()
