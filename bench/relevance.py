"""Fits and checks the gate (`message/relevance.py`): does a message want one of the tools?

    python bench/relevance.py --bfcl DATA --seal FOLDER [--talk persona_chat.csv]
        [--records calls.jsonl.gz no_call.jsonl.gz] [--fit] [--write bench/results/relevance.json]

`--bfcl` is `bfcl_eval/data` of the wheel bfcl-eval (Apache-2.0), `--seal` a folder with
`sealtools_dev.jsonl` and `sealtools_tool.jsonl` of Seal-Tools (Apache-2.0), `--talk` the validation
file of Synthetic-Persona-Chat (CC BY 4.0), `--records` training records of HWU64 (CC BY 4.0), Snips
(CC0), Home Assistant's intents (CC BY 4.0) and CLINC150 (CC BY 3.0), one JSON object a line with
`id`, `kind` (calls or no_call), `tools` and `messages`. All are read as data; none is here.

A message is wanted with the tools that its set offers (Seal-Tools: its own among four others), and
not wanted in BFCL's irrelevance sets, with Seal-Tools' message and only foreign tools, where a line
of small talk meets random tools, and in the records without a call. `called` is what the gate and
the splitting decide. With `--fit`: "cross-validated" scores each fifth by weights fitted on the
others, "group left out" each group of sources by weights that have seen none of it.
The weights of the package are those of `--half fit`; a run takes some minutes.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from call_cases import SEAL, Half, half_of_text, load_cases, seal_tools

from understudy.generation.message import relevance
from understudy.generation.message.requests import split_requests
from understudy.generation.message.tool_features import FEATURE_NAMES
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
WEIGHT = {"irrelevance": 2.5, "live_irrelevance": 1.0, "seal_away": 2.0, "talk": 1.0}
WEIGHT |= {"seal_several": 2.0, "seal_one": 1.2, "live_relevance": 0.1, "r8k": 0.1}
THRESHOLDS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.3, 0.5, 0.7, 1.0)
LEFT_OUT = {"hwu64-ask", "gsm8k", "bank77", "seal"}  # no request of a tool that is there, or above


@dataclass(frozen=True)
class Described:
    name: str
    description: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Item:
    group: str  # where source and style of the messages are one
    source: str
    wanted: float
    message: str
    tools: list[Described]
    right: tuple[int, ...] = ()  # indices of the tools that serve it, where they are known


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bfcl", type=Path, required=True)
    parser.add_argument("--seal", type=Path, required=True)
    parser.add_argument("--talk", type=Path)
    parser.add_argument("--records", type=Path, nargs="*", default=[])
    parser.add_argument("--half", choices=["fit", "report", "all"], default="all")
    parser.add_argument("--most", type=int, default=400, help="messages of a source")
    parser.add_argument("--fit", action="store_true", help="print weights fitted on all of it")
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    items = list(of_records(arguments.records))
    items += of_talk(arguments.talk, arguments.seal) if arguments.talk else ()
    items = [item for item in items if arguments.half in ("all", half_of_text(item.message))]
    items += of_cases(arguments.bfcl, arguments.seal, arguments.half)
    items = sample([item for item in items if item.tools], arguments.most)
    report = {
        name: study(items, embedder, fits=arguments.fit)
        for name, embedder in (("vectors and words", open_embedder()), ("words only", None))
    }
    print(json.dumps(report, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(report, indent=1) + "\n")


def sample(items: list[Item], most: int) -> list[Item]:
    """At most so many of each source, drawn at random."""
    random.Random(3).shuffle(items)
    taken: Counter[str] = Counter()
    chosen = []
    for item in items:
        taken[item.source] += 1
        if taken[item.source] <= most:
            chosen.append(item)
    return chosen


def study(items: list[Item], embedder: Any, *, fits: bool) -> dict[str, Any]:
    """What the gate decides as it is; with `fits` the weights of all items, and what each part of
    the items gets under the weights of the others.
    """
    gate = relevance.Gate(embedder)
    known = [gate.features(item.message, item.tools) for item in items]
    weights = np.array([relevance.WEIGHTS[name][embedder is None] for name in FEATURE_NAMES])
    score = np.array([(rows @ weights).max() for rows in known])
    decided = [bool(split_requests(item.message, item.tools, gate)) for item in items]
    report: dict[str, Any] = {
        "counts": dict(Counter(item.source for item in items)),
        "above": above(items, score),
        "called": shares(items, np.array(decided)),
        "right tool first": first_is_right(items, known, weights),
    }
    if fits:
        fitted = fit_all(items, known, weights)
        report["weights"] = dict(zip(FEATURE_NAMES, np.round(fitted, 2).tolist(), strict=True))
        report["fitted: right tool first"] = first_is_right(items, known, fitted)
        groups = np.array([item.group for item in items])
        fifths = np.random.default_rng(0).integers(0, 5, len(items))
        report["cross-validated"] = above(items, unseen(items, known, fitted, fifths))
        report["group left out"] = above(items, unseen(items, known, fitted, groups))
    return report


def unseen(items: list[Item], known: list[Any], start: Any, parts: Any) -> Any:
    """Scores of each part's items under weights fitted on the other parts."""
    score = np.zeros(len(items))
    for part in np.unique(parts):
        others = [i for i in range(len(items)) if parts[i] != part]
        weights = fit_all([items[i] for i in others], [known[i] for i in others], start)
        for i in np.flatnonzero(parts == part):
            score[i] = (known[i] @ weights).max()
    return score


def fit_all(items: list[Item], known: list[Any], start: Any, rounds: int = 4) -> Any:
    """Weights by rounds of logistic regression on the tool that the last round took for the nearest
    (or, where it is known, that which is right).
    """
    sizes = Counter(item.source for item in items)
    y = np.array([item.wanted for item in items])
    weight = np.array([WEIGHT.get(item.source, 0.7) / sizes[item.source] for item in items])
    weight *= np.where(y > 0, 1 / weight[y > 0].sum(), 1 / weight[y == 0].sum())
    theta = start
    for _ in range(rounds):
        chosen = [
            rows[max(item.right or range(len(rows)), key=lambda i: float(rows[i] @ theta))]
            for item, rows in zip(items, known, strict=True)
        ]
        theta = fit(np.array(chosen), y, weight)
    return theta


def fit(x: Any, y: Any, weight: Any, ridge: float = 2e-4) -> Any:
    """Weighted logistic regression by Newton's steps."""
    weight = weight / weight.sum()
    theta = np.zeros(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-(x @ theta)))
        gradient = x.T @ (weight * (p - y)) + ridge * theta
        curvature = (x * (weight * p * (1 - p) + 1e-9)[:, None]).T @ x
        theta -= np.linalg.solve(curvature + ridge * np.eye(len(theta)), gradient)
    return theta


def first_is_right(items: list[Item], known: list[Any], weights: Any) -> dict[str, float]:
    """Share of messages with one right tool among several whose highest score that tool has."""
    rows = [
        (item, float(int((k @ weights).argmax()) in item.right))
        for item, k in zip(items, known, strict=True)
        if len(item.right) == 1 and len(k) > 1
    ]
    return shares([item for item, _ in rows], np.array([right for _, right in rows]))


def above(items: list[Item], score: Any) -> dict[str, dict[str, float]]:
    return {str(threshold): shares(items, score >= threshold) for threshold in THRESHOLDS}


def shares(items: list[Item], chosen: Any) -> dict[str, float]:
    """The mean of each source, those first that want a call."""
    sources = sorted({(-item.wanted, item.source) for item in items})
    own = {
        source: [i for i, it in enumerate(items) if it.source == source] for _, source in sources
    }
    return {source: round(float(np.mean(chosen[own[source]])), 3) for _, source in sources}


def of_cases(bfcl: Path, seal: Path, half: Half) -> Iterator[Item]:
    """BFCL's and Seal-Tools' messages with the tools that they meet in `call_cases.py`."""
    for case in load_cases([*WANTED, *UNWANTED, *SEAL], seal=seal, bfcl_folder=bfcl, half=half):
        tools = [described(tool["function"]) for tool in case.tools]
        names = {name for name, _ in case.wanted}
        right = tuple(i for i, tool in enumerate(tools) if tool.name in names)
        group = "seal" if case.source in SEAL else "bfcl"
        yield Item(group, case.source, float(case.wants_call), case.message, tools, right)


def described(function: Mapping[str, Any]) -> Described:
    return Described(function["name"], function["description"], function["parameters"])


def of_talk(path: Path, seal: Path, most: int = 1500) -> Iterator[Item]:
    tools, chance = [described(tool) for tool in seal_tools(seal).values()], random.Random(1)
    with path.open(encoding="utf-8", newline="") as file:
        lines = [
            re.sub(r"^User \d: ?", "", line).strip()
            for row in csv.DictReader(file)
            for line in row["Best Generated Conversation"].split("\n")
        ]
    for line in chance.sample([line for line in lines if 4 < len(line) < 300], most):
        yield Item("talk", "talk", 0.0, line, chance.sample(tools, chance.choice([1, 3, 5, 8])))


def of_records(paths: list[Path], most: int = 1200) -> Iterator[Item]:
    """Single-turn records of training data: with calls wanted, with words alone not."""
    chance, taken = random.Random(2), Counter[str]()
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            records = [json.loads(line) for line in file]
        chance.shuffle(records)
        for record in records:
            source = re.match(r"[a-z0-9]+(-[a-z]+)?", record["id"])[0]  # type: ignore[index]
            said = [m for m in record["messages"] if m["role"] == "user"]
            source = source.partition("-")[0] if record["kind"] == "calls" else source
            if len(said) != 1 or source in LEFT_OUT or taken[source] >= most:
                continue
            taken[source] += 1
            tools = [
                Described(t["name"], t["description"], t["parameters"]) for t in record["tools"]
            ]
            called = {c["name"] for m in record["messages"] for c in m.get("tool_calls", ())}
            right = tuple(i for i, tool in enumerate(tools) if tool.name in called)
            yield Item("intents", source, float(bool(called)), said[0]["content"], tools, right)


if __name__ == "__main__":
    main()
