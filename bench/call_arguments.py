"""Fits and checks what decides whether a conversation speaks of an optional parameter: the weights
of `generation/message/spoken.py`.

    python bench/call_arguments.py --bfcl FOLDER --seal FOLDER [--half report] [--limit 200] [--fit]

Data as in `call_cases.py`. Spoken of is what an answer must hold, and what it may hold where the
message says the value; not, what it may leave out or must not hold. Prints for each source which
share of either is offered.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from call_cases import CallCase, load_cases
from relevance import fit

from understudy.generation.message import spoken
from understudy.judge.benchmark.bfcl import call_name

SOURCES = ["seal_one", "simple_python", "multiple", "live_simple", "live_multiple"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bfcl", type=Path, required=True)
    parser.add_argument("--seal", type=Path, required=True)
    parser.add_argument("--half", choices=["fit", "report", "all"], default="report")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--fit", action="store_true", help="fit weights on this half first")
    arguments = parser.parse_args()
    cases = load_cases(
        SOURCES,
        seal=arguments.seal,
        bfcl_folder=arguments.bfcl,
        half=arguments.half,
        limit=arguments.limit,
    )
    rows = [(case.source, *row) for case in cases for row in parameters(case)]
    names = list(rows[0][1])
    x = np.array([[row[name] for name in names] for _, row, _ in rows])
    y = np.array([label for _, _, label in rows])
    if arguments.fit:
        theta = fit(x, y, np.ones(len(y)), ridge=1e-3)
        spoken.WEIGHTS = dict(zip(names, theta.round(2).tolist(), strict=True))
        print(spoken.WEIGHTS)
    logits = x @ np.array([spoken.WEIGHTS[name] for name in names])
    table(np.array([source for source, _, _ in rows]), y, logits)


def parameters(case: CallCase) -> Iterator[tuple[dict[str, float], float]]:
    """What the regression sees of each optional parameter of the right tools, and whether it is
    spoken of.
    """
    tools = {tool["function"]["name"]: tool["function"] for tool in case.tools}
    for name, allowed in answers(case):
        schema = tools.get(name, {}).get("parameters", {})
        found, said = spoken.Parameters(schema), spoken.Heard.of(case.message)
        for parameter in found.optional:
            label = is_spoken_of(allowed.get(parameter), case.message)
            if label is not None:
                yield found.features(parameter, said), float(label)


def answers(case: CallCase) -> Iterator[tuple[str, Mapping[str, list[Any]]]]:
    """Names, and the values that each parameter may have; "" among them: it may be left out."""
    if case.bfcl is None:
        for name, arguments in case.wanted:
            yield name, {parameter: [value] for parameter, value in arguments.items()}
        return
    for answer in case.bfcl.answers:
        for name, allowed in answer.items():
            yield call_name(name), allowed


def is_spoken_of(values: list[Any] | None, message: str) -> bool | None:
    """None: that cannot be told."""
    if values is None:
        return False
    if "" not in values:
        return True
    said = plain(message)
    texts = [plain(value) for value in values if isinstance(value, str) and value]
    if any(isinstance(value, (bool, int, float)) and str(value) in message for value in values):
        return None
    return any(len(text) > 2 and text in said for text in texts)


def plain(text: str) -> str:
    return re.sub(r"[ ,./\-_*^'\"]", "", text.lower())


def table(sources: Any, y: Any, logits: Any) -> None:
    print("| source | spoken of: offered | not: offered |\n|" + "---|" * 3)
    for source in dict.fromkeys(sources):
        own = sources == source
        groups = [logits[own & (y == label)] for label in (1, 0)]
        cells = [f"{100 * np.mean(group > 0):.0f} % of {len(group)}" for group in groups]
        print(f"| {source} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
