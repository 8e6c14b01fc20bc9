"""Fits and checks what decides which tools a message wants and how often: the weights of
`generation/message/requests.py` and `generation/message/more_calls.py`.

    python bench/call_plan.py --bfcl FOLDER --seal FOLDER [--half fit] [--limit 130] [--fit]

Data as in `call_cases.py`. Tools: pairs of message and tool. Once more: after each of the right
calls of a tool, with the arguments of the answer. `--fit` prints weights fitted on the half, and
what each fifth gets under weights of the others; without it the weights of the package are judged:
`tools` is the share of messages whose set of tools is right, `number` of those whose calls of each
tool are as many as wanted (the calls so far being right), `both` of those with both.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from call_cases import CallCase, load_cases
from relevance import fit

from understudy.generation.calls import callable_tools
from understudy.generation.message import more_calls, requests
from understudy.generation.message.relevance import shared_gate
from understudy.generation.tools import Tool
from understudy.judge.benchmark.bfcl import call_name

SOURCES = [
    *("seal_one", "seal_several", "simple_python", "multiple", "parallel", "parallel_multiple"),
    *("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple"),
]
Weights = Mapping[str, float]
Rows = list[tuple[dict[str, float], float]]


@dataclass
class Read:
    """A case, and what the regressions see of it."""

    case: CallCase
    tools: tuple[Tool, ...]
    reading: requests.Reading
    pairs: Rows = field(default_factory=list)  # one a tool
    again: Rows = field(default_factory=list)  # one a right call

    @property
    def fifth(self) -> int:
        return int(hashlib.sha256(self.case.id.encode()).hexdigest()[:8], 16) % 5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bfcl", type=Path, required=True)
    parser.add_argument("--seal", type=Path, required=True)
    parser.add_argument("--half", choices=["fit", "report", "all"], default="report")
    parser.add_argument("--limit", type=int, default=130)
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    cases = load_cases(
        SOURCES,
        seal=arguments.seal,
        bfcl_folder=arguments.bfcl,
        half=arguments.half,
        limit=arguments.limit,
    )
    gate, found = shared_gate(), []
    for case in cases:
        tools, _, _ = callable_tools(case.tools, "auto")
        if tools and case.wanted:
            found.append(Read(case, tools, requests.Reading(case.message, tools, gate)))
    for one in found:
        wanted = {name for name, _ in one.case.wanted}
        one.pairs = [
            (row, float(tool.name in wanted))
            for row, tool in zip(one.reading.wanted_features(), one.tools, strict=True)
        ]
    if not arguments.fit:
        table([(one.case, verdict(one)) for one in found])
        return
    parts = [[one for one in found if one.fifth == i] for i in range(5)]
    unseen: list[tuple[CallCase, tuple[bool, bool]]] = []
    for part in parts:
        use([one for one in found if one not in part])
        unseen += [(one.case, verdict(one)) for one in part]
    table(unseen)
    use(found)
    print("WANTED_WEIGHTS", rounded(requests.WANTED_WEIGHTS))
    print("WEIGHTS", rounded(more_calls.WEIGHTS))


def use(found: Sequence[Read]) -> None:
    """Fits both on these cases, and puts the weights to use."""
    several = [one for one in found if len(one.tools) > 1]
    requests.WANTED_WEIGHTS = fitted(
        [row for one in several for row in one.pairs],
        [len(one.pairs) ** -0.5 for one in several for _ in one.pairs],
    )
    for one in found:
        one.again = list(again_rows(one))
    more_calls.WEIGHTS = fitted([row for one in found for row in one.again])


def fitted(rows: Rows, weight: Sequence[float] | None = None) -> dict[str, float]:
    names = list(rows[0][0])
    x = np.array([[row[name] for name in names] for row, _ in rows])
    y = np.array([label for _, label in rows])
    theta = fit(x, y, np.ones(len(y)) if weight is None else np.array(weight), ridge=5e-4)
    return dict(zip(names, theta.tolist(), strict=True))


def again_rows(one: Read) -> Rows:
    rows: Rows = []
    right = right_calls(one.case)
    for request in requests.requests_of(one.reading):
        tool = one.tools[request.tools[0]]
        calls = [arguments for name, arguments in right if name == tool.name]
        for number in range(1, len(calls) + 1):
            features = more_calls.features(request.text, tool.parameters, calls[:number])
            rows.append((features, float(number < len(calls))))
    return rows


def right_calls(case: CallCase) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the answer, of BFCL's allowed values the first."""
    if case.bfcl is None:
        return [(name, dict(arguments)) for name, arguments in case.wanted]
    calls = []
    for answer in case.bfcl.answers:
        ((name, allowed),) = answer.items()
        arguments = {
            n: value for n, values in allowed.items() if (value := first(values)) is not None
        }
        optional = [n for n, values in allowed.items() if "" in values]
        said = case.message.lower()
        for parameter in optional:  # of those that may be left out, what the message says
            value = arguments.get(parameter, "")
            if not isinstance(value, (int, float)) and str(value).lower() not in said:
                arguments.pop(parameter, None)
        calls.append((call_name(name), arguments))
    return calls


def first(values: Sequence[Any]) -> Any:
    found = next((value for value in values if value not in ("", None)), None)
    if isinstance(found, Mapping):
        return {n: v[0] if isinstance(v, list) and v else v for n, v in found.items()}
    return found


def table(found: Sequence[tuple[CallCase, tuple[bool, bool]]]) -> None:
    """Prints a line for each source."""
    print("| source | n | tools | number | both |\n|---|---|---|---|---|")
    for source in dict.fromkeys(case.source for case, _ in found):
        own = np.array([right for case, right in found if case.source == source])
        shares = [f"{100 * share:.1f}" for share in (*own.mean(0), own.all(1).mean())]
        print(f"| {source} | {len(own)} | {' | '.join(shares)} |")


def verdict(one: Read) -> tuple[bool, bool]:
    wanted = {name for name, _ in one.case.wanted}
    are_tools = {one.tools[i].name for i in one.reading.wanted()} == wanted
    is_number = all((logit(row) > 0) == bool(label) for row, label in again_rows(one))
    return are_tools, is_number


def logit(row: Mapping[str, float]) -> float:
    return sum(more_calls.WEIGHTS.get(name, 0.0) * value for name, value in row.items())


def rounded(weights: Weights) -> dict[str, float]:
    return {name: round(value, 2) for name, value in weights.items()}


if __name__ == "__main__":
    main()
