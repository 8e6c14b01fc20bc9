"""Function calling on BFCL's single-turn cases, judged by our own AST checker.

    python bench/bfcl.py WHEEL_FOLDER MODEL [--categories simple_python …] [--limit N]
        [--choice auto] [--json FILE]

WHEEL_FOLDER is the unzipped wheel bfcl-eval 2026.3.23. Without --choice, cases that have a call to
compare are asked with tool_choice "required" and the (ir)relevance cases with "auto". Answers are
kept in FILE's neighbour .jsonl: a second run with the same settings goes on where the first
stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import understudy
from understudy.errors import UnderstudyError
from understudy.generation.calls import call_mask, read_calls
from understudy.generation.tools import Tool
from understudy.judge.benchmark.bfcl import (
    CATEGORIES,
    RELEVANCE_CATEGORIES,
    BfclCase,
    load_cases,
    tools_of,
)
from understudy.judge.benchmark.bfcl_check import check
from understudy.judge.evaluate.judge import satisfies
from understudy.report.statistics import wilson


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder")
    parser.add_argument("model")
    parser.add_argument("--categories", nargs="+", default=list(CATEGORIES), choices=CATEGORIES)
    parser.add_argument(
        "--limit", type=int, help="cases of each category, drawn by the hash of their ids"
    )
    parser.add_argument(
        "--choice", choices=["auto", "required"], help="the tool_choice of every case"
    )
    parser.add_argument(
        "--one-call",
        action="store_true",
        help="at most one call an answer, as parallel_tool_calls=false",
    )
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--context", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument(
        "--minutes", type=float, help="stop asking after so long and report what is there"
    )
    parser.add_argument("--json", type=Path, default=Path("bfcl.json"))
    arguments = parser.parse_args()
    cases = sample(load_cases(arguments.folder, arguments.categories), arguments.limit)
    print(
        f"{len(cases)} cases; tool_choice {arguments.choice or 'auto for (ir)relevance, required elsewhere'}",
        flush=True,
    )
    results = ask_all(cases, arguments)
    report = summary(results, arguments)
    print_table(report)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


def sample(cases: list[BfclCase], limit: int | None) -> list[BfclCase]:
    """At most `limit` cases of each category, drawn by the hash of their ids; the categories take
    turns, so a part is a sample too.
    """
    rows = []
    for category in dict.fromkeys(case.category for case in cases):
        group = [case for case in cases if case.category == category]
        group.sort(key=lambda case: hashlib.sha256(case.id.encode()).digest())
        rows += list(enumerate(group[:limit]))
    return [case for _, case in sorted(rows, key=lambda row: row[0])]


def choice_for(case: BfclCase, choice: str | None) -> str:
    return choice or ("auto" if case.category in RELEVANCE_CATEGORIES else "required")


def ask_all(cases: list[BfclCase], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The results of all cases asked so far, those of earlier runs with the same settings included."""
    store = arguments.json.with_suffix(".jsonl")
    store.parent.mkdir(parents=True, exist_ok=True)
    settings = f"{arguments.model} {arguments.choice} {arguments.max_tokens} {arguments.context} {arguments.one_call}"
    key = hashlib.sha256(settings.encode()).hexdigest()[:12]
    known = {row["id"]: row for row in read_rows(store) if row["settings"] == key}
    model = understudy.load(
        arguments.model, context=arguments.context, num_threads=arguments.threads
    )
    start, asked, results = time.monotonic(), 0, []
    with store.open("a", encoding="utf-8") as file:
        for i, case in enumerate(cases):
            row = known.get(case.id)
            if row is None:
                minutes = (time.monotonic() - start) / 60
                if arguments.minutes is not None and minutes > arguments.minutes:
                    print(
                        f"stopped after {minutes:.1f} minutes with {len(results)} of {len(cases)} cases"
                    )
                    break
                row = {"settings": key, **ask(model, case, arguments)}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                file.flush()
                asked += 1
                rest = (
                    (time.monotonic() - start)
                    / asked
                    * sum(other.id not in known for other in cases[i + 1 :])
                )
                print(
                    f"{i + 1}/{len(cases)} {case.id} {'right' if row['is_right'] else row['fault'][:90]}; {rest:.0f} s left",
                    flush=True,
                )
            results.append(row)
    return results


def read_rows(store: Path) -> list[dict[str, Any]]:
    """Stored results; a line cut short by an interrupted run is asked again."""
    rows = []
    for line in store.read_text("utf-8").splitlines() if store.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def ask(model: understudy.Model, case: BfclCase, arguments: argparse.Namespace) -> dict[str, Any]:
    """One case: the calls, whether they parse and satisfy their schemas, and the verdict."""
    documents = tools_of(case)
    tools = [Tool.from_openai(document) for document in documents]
    choice = choice_for(case, arguments.choice)
    row: dict[str, Any] = {"id": case.id, "category": case.category, "choice": choice}
    start = time.monotonic()
    try:
        mask = call_mask(
            model.tokenizer, model.chat_template, tools, choice, is_parallel=not arguments.one_call
        )
        reply = model.generate(
            list(case.messages),
            tools=documents,
            make_mask=mask,
            max_tokens=arguments.max_tokens,
            temperature=0.0,
        )
    except UnderstudyError as error:
        return {
            **row,
            "is_right": False,
            "fault": f"not asked: {error}",
            "error": type(error).__name__,
            "calls": [],
            "seconds": 0.0,
        }
    read = read_calls(model.chat_template, reply.raw_text, tools)
    emitted = [*read.calls, *(call for call, _ in read.refused)]
    verdict = check(case, emitted)
    form = model.chat_template.call_form
    return {
        **row,
        "is_right": verdict.is_right,
        "fault": verdict.fault,
        "calls": [[call.name, call.arguments] for call in emitted],
        "valid": sum(satisfies(call, documents) for call in emitted),
        "is_cut": reply.finish_reason == "length"
        and form is not None
        and form.open in reply.raw_text,
        "prompt_tokens": reply.usage.prompt_tokens,
        "tokens": len(reply.tokens),
        "seconds": round(time.monotonic() - start, 3),
        "raw": reply.raw_text,
    }


def is_right(row: dict[str, Any]) -> bool:
    """An answer cut by the token limit within a call is wrong, whatever its calls before that."""
    return bool(row["is_right"]) and not row.get("is_cut", False)


def summary(results: list[dict[str, Any]], arguments: argparse.Namespace) -> dict[str, Any]:
    table = {}
    for category in arguments.categories:
        rows = [row for row in results if row["category"] == category]
        if not rows:
            continue
        right, calls = sum(map(is_right, rows)), sum(len(row["calls"]) for row in rows)
        table[category] = {
            "choice": rows[0]["choice"],
            "cases": len(rows),
            "right": right,
            "accuracy": right / len(rows),
            "wilson_95": wilson(right, len(rows))[1:],
            "calls": calls,
            "valid_calls": sum(row.get("valid", 0) for row in rows),
            "cut_by_limit": sum(row.get("is_cut", False) for row in rows),
            "not_asked": sum("error" in row for row in rows),
        }
    calls, valid = (sum(entry[key] for entry in table.values()) for key in ("calls", "valid_calls"))
    return {
        "model": Path(arguments.model).name,
        "data": "bfcl-eval 2026.3.23",
        "one_call": arguments.one_call,
        "max_tokens": arguments.max_tokens,
        "limit": arguments.limit,
        "cases": len(results),
        "seconds": round(sum(row["seconds"] for row in results), 1),
        "calls": calls,
        "valid_calls": valid,
        "syntax_validity": valid / calls if calls else None,
        "answers_cut_by_limit": sum(entry["cut_by_limit"] for entry in table.values()),
        "categories": table,
    }


def print_table(report: dict[str, Any]) -> None:
    print(f"\n| Category | tool_choice | Cases | Right | 95 % | Calls valid | Cut |\n|{'---|' * 7}")
    for category, entry in report["categories"].items():
        low, high = (100 * bound for bound in entry["wilson_95"])
        print(
            f"| {category} | {entry['choice']} | {entry['cases']} | {100 * entry['accuracy']:.1f} % | {low:.1f} to {high:.1f} "
            f"| {entry['valid_calls']}/{entry['calls']} | {entry['cut_by_limit']} |"
        )
    print(
        f"calls that parse and satisfy their schema: {report['valid_calls']} of {report['calls']}"
    )


if __name__ == "__main__":
    main()
