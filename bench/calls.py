"""Calls in `auto`, as the server makes them: are they made where one is wanted, are they right, and
is there none where none is wanted?

    python bench/calls.py MODEL|URL --seal FOLDER --bfcl FOLDER [--sources seal_one parallel …]
        [--half report] [--limit 200] [--settings '{"split": false}'] [--out ITEMS.jsonl]

`--bfcl` is the unzipped wheel bfcl-eval, `--seal` a folder with `sealtools_dev.jsonl` and
`sealtools_tool.jsonl`; `call_cases.py` says what is asked. Each case is prepared, held to its
grammar and read by the steps of `/v1/chat/completions`, greedy. Figures are shares with 95 %
intervals: `called` (any call), `count` (as many as wanted), `names` (the mean share of wanted tools
that are called), `all_names` (just those), `right` (with their arguments), `quiet` (no call where
none is right). A run with the same `--out` goes on where the last one stopped, `--minutes` ends
it early. `--gate-only` asks no model: a call stands for each tool that is wanted, the nearest. A
URL (`http://127.0.0.1:8080/v1`) is asked as an OpenAI server is, so that others can be held beside.

Below the table stand the two columns that BFCL's board has of single turns: "non-live AST" is the
mean of simple (itself the mean of its languages), multiple, parallel and parallel_multiple; "live
AST" the mean over the questions of all live files, here each category's share times its size.
"""

from __future__ import annotations

import argparse
import json
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from call_cases import NAMES, CallCase, load_cases

import understudy
from understudy.errors import UnderstudyError
from understudy.generation.calls import callable_tools
from understudy.generation.chat_request import ChatRequest
from understudy.generation.intent import CallPolicy, CallSettings
from understudy.generation.prepare import RequestLimits, prepare_chat
from understudy.generation.reader import StreamParser
from understudy.report.statistics import wilson
from understudy.text.toolcalls import ParsedCall

MAX_TOKENS = 256
NON_LIVE = (("simple_python", "simple_java", "simple_javascript"),)
NON_LIVE += (("multiple",), ("parallel",), ("parallel_multiple",))
LIVE = {"live_simple": 258, "live_multiple": 1053, "live_parallel": 16}
LIVE |= {"live_parallel_multiple": 24}
FIGURES = ("called", "count", "names", "all_names", "right", "quiet")


def main() -> None:
    arguments = read_arguments()
    cases = load_cases(
        arguments.sources,
        seal=arguments.seal,
        bfcl_folder=arguments.bfcl,
        half=arguments.half,
        limit=arguments.limit,
    )
    settings = CallSettings(**arguments.settings)
    if arguments.gate_only:
        rows = [row_of(case, gated(case, settings)) for case in cases]
    else:
        rows = ask_all(arguments, cases, settings)
    print_table(rows)
    print_columns(rows)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a model, or the URL of a server")
    parser.add_argument("--seal", type=Path)
    parser.add_argument("--bfcl", type=Path)
    parser.add_argument("--sources", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--half", choices=["fit", "report", "all"], default="report")
    parser.add_argument("--limit", type=int, help="cases of each source")
    parser.add_argument("--settings", type=json.loads, default={}, help="of CallSettings, as JSON")
    parser.add_argument("--gate-only", action="store_true")
    parser.add_argument("--together", type=int, default=8, help="requests computed together")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--context", type=int, default=8192)
    parser.add_argument("--minutes", type=float, help="asks no more cases after so long")
    parser.add_argument("--out", type=Path, help="keeps the items, and goes on from them")
    return parser.parse_args()


def gated(case: CallCase, settings: CallSettings) -> list[ParsedCall]:
    """A call for each tool that is wanted."""
    tools, _, _ = callable_tools(case.tools, "auto")
    intent = CallPolicy(5e8, settings).intent(case.message, case.message, tools, "auto")
    if intent.choice != "required":
        return []
    assert intent.plan is not None
    return [ParsedCall(request.tools[0].name, {}) for request in intent.plan.requests]


def ask_all(
    arguments: argparse.Namespace, cases: list[CallCase], settings: CallSettings
) -> list[dict[str, Any]]:
    known = {row["id"]: row for row in read_rows(arguments.out)}
    asked = asker(arguments, settings)
    end = time.monotonic() + 60 * (arguments.minutes or 1e6)
    left = [case for case in cases if case.id not in known]
    with ThreadPoolExecutor(arguments.together) as pool:
        rows = pool.map(lambda case: asked(case) if time.monotonic() < end else None, left)
        for number, row in enumerate(rows, 1):
            if row is None:
                break
            known[row["id"]] = row
            if arguments.out:
                with arguments.out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
            if number % 50 == 0:
                print(f"{number} of {len(left)}", flush=True)
    return [known[case.id] for case in cases if case.id in known]


def asker(
    arguments: argparse.Namespace, settings: CallSettings
) -> Callable[[CallCase], dict[str, Any]]:
    """What asks one case: of a model here, or of a server."""
    if arguments.model.startswith("http"):
        return lambda case: ask_server(arguments.model, case)
    model = understudy.load(
        arguments.model,
        context=arguments.context,
        cache_contexts=arguments.together,
        num_threads=arguments.threads,
    )
    return lambda case: ask(model, case, settings)


def ask_server(url: str, case: CallCase) -> dict[str, Any]:
    body = {"messages": case.messages, "tools": case.tools, "tool_choice": "auto"}
    body |= {"temperature": 0, "max_tokens": MAX_TOKENS}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request) as reply:
            choice = json.load(reply)["choices"][0]
    except urllib.error.HTTPError as error:
        return {**row_of(case, []), "error": error.read().decode()[:300]}
    calls, is_cut = [], choice["finish_reason"] == "length"
    for call in [] if is_cut else choice["message"].get("tool_calls") or []:
        function = call["function"]
        try:
            calls.append(ParsedCall(function["name"], json.loads(function["arguments"] or "{}")))
        except ValueError:
            return {**row_of(case, []), "error": "arguments that are no JSON"}
    return {**row_of(case, calls), "raw": choice["message"].get("content")}


def read_rows(path: Path | None) -> list[dict[str, Any]]:
    if path is None or not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def ask(model: understudy.Model, case: CallCase, settings: CallSettings) -> dict[str, Any]:
    """One case as the server answers it."""
    policy = model.limits.with_calls(settings)
    limits = RequestLimits(
        model.limits.context,
        model.limits.vocab_size,
        caps_answers=True,
        calls=policy,
        job_adapter=model.limits.job_adapter,
    )
    try:
        tools, choice, notes = callable_tools(case.tools, "auto")
        chat = ChatRequest(
            case.messages,
            tools,
            choice,
            sampling={"temperature": 0.0, "max_tokens": MAX_TOKENS},
            notes=notes,
        )
        prepared = prepare_chat(model.chat_template, model.tokenizer, limits, chat)
        if policy is not None and not prepared.tools:  # words, which nothing here judges
            return {**row_of(case, []), "prompt_tokens": prepared.num_prompt}
        outputs = list(model.outputs(prepared.request))
    except UnderstudyError as error:
        return {**row_of(case, []), "error": str(error)}
    parser = StreamParser(model.chat_template, prepared.tools, is_strict=True)
    raw = "".join(output.text for output in outputs)
    parser.push(raw)
    parser.finish()
    calls = parser.calls if outputs[-1].finish_reason != "length" or not parser.is_cut else []
    return {**row_of(case, calls), "raw": raw, "prompt_tokens": prepared.num_prompt}


def row_of(case: CallCase, calls: list[ParsedCall]) -> dict[str, Any]:
    figures = case.figures(calls)
    made = [[call.name, call.arguments] for call in calls]
    return {"id": case.id, "source": case.source, "calls": made, **figures}


def print_table(rows: list[dict[str, Any]]) -> None:
    print(f"\n| source | n | {' | '.join(FIGURES)} |\n|{'---|' * (2 + len(FIGURES))}")
    for source in dict.fromkeys(row["source"] for row in rows):
        own = [row for row in rows if row["source"] == source]
        print(f"| {source} | {len(own)} | {' | '.join(cell(own, name) for name in FIGURES)} |")


def print_columns(rows: list[dict[str, Any]]) -> None:
    """BFCL's two columns of single turns, where all their categories were asked."""
    right: dict[str, list[float]] = {}
    for row in rows:
        right.setdefault(row["source"], []).append(row.get("right", 0.0))
    share = {source: sum(values) / len(values) for source, values in right.items()}
    groups = [[share[name] for name in group if name in share] for group in NON_LIVE]
    if all(groups):
        columns = [sum(group) / len(group) for group in groups]
        print(f"non-live AST {100 * sum(columns) / len(columns):.1f} %")
    if share.keys() >= LIVE.keys():
        live = sum(size * share[name] for name, size in LIVE.items()) / sum(LIVE.values())
        print(f"live AST {100 * live:.1f} %")


def cell(rows: list[dict[str, Any]], name: str) -> str:
    """A share with its interval (Wilson); "" where the source has no such figure."""
    values = [row[name] for row in rows if name in row]
    if not values:
        return ""
    _, low, high = wilson(round(sum(values)), len(values))
    share = 100 * sum(values) / len(values)
    return f"{share:.1f} ({100 * low:.0f} to {100 * high:.0f})"


if __name__ == "__main__":
    main()
