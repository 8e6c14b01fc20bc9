"""`understudy tool list|ask`: functions as tools: their schemas, and one question answered with
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import json

from understudy.cli.options import add_loading, add_sampling, load_model, sampling_of
from understudy.cli.session_options import (
    add_sources,
    add_thinking,
    add_tools,
    session_of,
    tools_of,
)
from understudy.cli.terminal import note_if_cut, write
from understudy.hub import DEFAULT_MODEL


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the tools as OpenAI's JSON")
    ask = actions.add_parser("ask", help="one question; calls are run if you allow them")
    ask.add_argument("question")
    ask.add_argument("--model", default=DEFAULT_MODEL)
    ask.add_argument("--system", help="system message")
    ask.add_argument(
        "--choice", default="auto", help="none, auto, required or a tool's name (default auto)"
    )
    ask.add_argument(
        "--json", action="store_true", help="reply, calls, results and context ledger as JSON"
    )
    for action in (listing, ask):
        add_tools(action)
    add_sources(ask)
    add_thinking(ask)
    add_sampling(ask, max_tokens=384)
    add_loading(ask)


def run(arguments: argparse.Namespace) -> int:
    return {"list": _list, "ask": _ask}[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> int:
    from understudy.generation.tools import as_tools

    with tools_of(arguments) as tools:
        listed = [tool.to_openai() for tool in as_tools(tools)]
    write(json.dumps(listed, ensure_ascii=False, indent=1) + "\n")
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    model = load_model(arguments)
    with session_of(arguments, model, **sampling_of(arguments)) as session:
        reply = session.say(arguments.question, tool_choice=arguments.choice)
    if arguments.json:
        calls = [dataclasses.asdict(call) for call in reply.tool_calls]
        results = [
            {"id": r.call.id, "content": r.content, "is_error": r.is_error, "was_cut": r.was_cut}
            for r in reply.results
        ]
        document = {
            "text": reply.text,
            "finish_reason": reply.finish_reason,
            "calls": calls,
            "results": results,
            "context": reply.ledger.to_document() if reply.ledger is not None else None,
        }
        write(json.dumps(document, ensure_ascii=False) + "\n")
        return 0
    for call in reply.tool_calls:
        result = next(
            (r.content for r in reply.results if r.call.id == call.id),
            "not run: the tool has no function here",
        )
        write(f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})\n  -> {result}\n")
    write(f"{reply.text}\n")
    note_if_cut(reply.finish_reason, arguments.max_tokens)
    return 0
