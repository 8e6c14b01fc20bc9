"""Calls in `auto`: are they made where one is wanted, and not elsewhere? Seal-Tools' validation
messages, whole or with foreign tools.

    python bench/calls.py --seal FOLDER --model M [--items 200] [--settings '{"gate": false}']
    [--gate-only] [--write FILE]

`--seal` as in `relevance.py`. Each message meets its own tools among four others; every second one
also six foreign tools. `called`, `name`, `arguments` are shares of messages that want one call;
`tools`, `all tools` of those that want several (the mean share of their tools, and messages with
just their list), `several called` those with any call; `needless` of messages with foreign tools
alone that got a call. `--gate-only` asks no model: it says whether a call is asked for, which is
all that decides below 1B parameters.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

from relevance import seal_tools

import understudy
from understudy.generation.calls import call_grammar, read_calls
from understudy.generation.intent import CallPolicy, CallSettings, policy_of
from understudy.generation.tools import Tool
from understudy.text.grammar import Grammar
from understudy.text.toolcalls import ParsedCall


def main() -> None:
    arguments = read_arguments()
    model = None if arguments.gate_only else understudy.load(arguments.model)
    settings, chance = CallSettings(**arguments.settings), random.Random(0)
    tools = {
        name: Tool(name, tool.description, tool.parameters)
        for name, tool in seal_tools(arguments.seal).items()
        if re.fullmatch(r"[\w.-]{1,64}", name)  # the set has names that no API allows
    }
    lines = (arguments.seal / "sealtools_dev.jsonl").read_text(encoding="utf-8").splitlines()
    chance.shuffle(lines)
    rows: dict[str, list[float]] = {}
    for number, line in enumerate(lines[: arguments.items]):
        entry = json.loads(line)
        gold = entry["calling"]
        if any(call["api"] not in tools for call in gold):
            continue
        names = list(dict.fromkeys(call["api"] for call in gold))
        others = [name for name in chance.sample(list(tools), 10) if name not in names]
        offered = [tools[name] for name in names + others[:4]]
        chance.shuffle(offered)
        note(rows, gold, asked(model, entry["query"], offered, settings))
        if number % 2 == 0:
            away = [tools[name] for name in others[:6]]
            calls = asked(model, entry["query"], away, settings)
            rows.setdefault("needless", []).append(float(bool(calls)))
        if number % 20 == 19:
            print(json.dumps(summary(rows)), flush=True)
    if arguments.gate_only:
        rows = {name: rows[name] for name in ("called", "several called", "needless")}
    result = {"model": arguments.model, "settings": arguments.settings, **summary(rows)}
    print(json.dumps(result, indent=1))
    if arguments.write:
        arguments.write.write_text(json.dumps(result, indent=1) + "\n")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seal", type=Path, required=True)
    parser.add_argument("--model", default="smollm2-135m-instruct")
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--settings", type=json.loads, default={}, help="of CallSettings, as JSON")
    parser.add_argument("--gate-only", action="store_true")
    parser.add_argument("--write", type=Path)
    return parser.parse_args()


def asked(
    model: understudy.Model | None, message: str, tools: list[Tool], settings: CallSettings
) -> tuple[ParsedCall, ...]:
    """The calls of one answer, decided, held and read as the server does; without a model one that
    stands for those that are asked for.
    """
    num_parameters = 5e8 if model is None else policy_of(model.spec).num_parameters
    intent = CallPolicy(num_parameters, settings).intent(message, message, tools, "auto")
    if model is None:
        return (ParsedCall("", {}),) if intent.choice == "required" else ()
    grammar = call_grammar(
        model.tokenizer,
        model.chat_template,
        intent.tools,
        intent.choice,
        requests=intent.requests,
        opens_with_word=intent.is_gated,
    )
    prompt = model.chat_template.render(
        [{"role": "user", "content": message}], tools=[tool.to_openai() for tool in tools]
    )
    reply = model.generate(
        prompt, make_mask=Grammar(model.tokenizer).lark(grammar), max_tokens=240, temperature=0.0
    )
    return read_calls(
        model.chat_template, reply.raw_text, tools if intent.callable_tools else ()
    ).calls


def note(
    rows: dict[str, list[float]], gold: list[dict[str, Any]], calls: tuple[ParsedCall, ...]
) -> None:
    names, got = [call["api"] for call in gold], [call.name for call in calls]
    if len(names) > 1:
        rows.setdefault("several called", []).append(float(bool(calls)))
        rows.setdefault("tools", []).append(sum(name in got for name in names) / len(names))
        rows.setdefault("all tools", []).append(float(sorted(got) == sorted(names)))
        return
    is_name = got[:1] == names
    rows.setdefault("called", []).append(float(bool(calls)))
    rows.setdefault("name", []).append(float(is_name))
    is_right = is_name and plain(calls[0].arguments) == plain(gold[0]["parameters"])
    rows.setdefault("arguments", []).append(float(is_right))


def plain(arguments: dict[str, Any]) -> dict[str, str]:
    """Arguments without case and punctuation."""
    return {name: re.sub(r"\W+", "", str(value)).lower() for name, value in arguments.items()}


def summary(rows: dict[str, list[float]]) -> dict[str, list[float]]:
    """Share and number of each figure, with the half width of a 95 % interval."""
    return {
        name: [
            round(sum(found) / len(found), 3),
            len(found),
            round(
                1.96
                * (sum(found) / len(found) * (1 - sum(found) / len(found)) / len(found)) ** 0.5,
                3,
            ),
        ]
        for name, found in rows.items()
    }


if __name__ == "__main__":
    main()
