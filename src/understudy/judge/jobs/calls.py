"""Function calls: one message, several tools, `auto`. Items have BFCL's layout."""

from __future__ import annotations

from typing import Any

from understudy.chat.session import Session, SessionSettings
from understudy.errors import ContextError
from understudy.generation.intent import CallSettings
from understudy.judge.benchmark.bfcl import RELEVANCE_CATEGORIES, call_name, tools_of
from understudy.judge.benchmark.bfcl_check import check
from understudy.judge.evaluate.applications import case_of
from understudy.judge.jobs.job import Item, Job, Settings, Switch
from understudy.model import Model
from understudy.text.toolcalls import ParsedCall

MAX_TOKENS = 256


def score(model: Model, item: Item, settings: Settings) -> dict[str, Any]:
    """Whether the calls are right, by BFCL's rules; an item that wants none is right without."""
    case = case_of(item)
    calls = _called(model, case.messages, tools_of(case), CallSettings(**settings))
    is_right = int(check(case, calls).is_right)
    if case.category in RELEVANCE_CATEGORIES:
        wants = case.category == "live_relevance"
        return {"right": is_right, ("called" if wants else "quiet"): int(bool(calls) == wants)}
    wanted = sorted(call_name(name) for answer in case.answers for name in answer)
    names = sorted(call.name for call in calls)
    found = sum(names.count(name) > 0 for name in set(wanted)) / len(set(wanted))
    line = {"right": is_right, "called": int(bool(calls)), "tools": found}
    return {**line, "all_calls": int(names == wanted)} if len(wanted) > 1 else line


def _called(
    model: Model, messages: Any, tools: list[dict[str, Any]], settings: CallSettings
) -> tuple[ParsedCall, ...]:
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    said = "\n".join(m["content"] for m in messages if m["role"] == "user")
    session = Session(
        model, system=system, tools=tools, settings=SessionSettings(calls=settings, rounds=1)
    )
    try:
        reply = session.say(said, max_tokens=MAX_TOKENS, temperature=0.0)
    except ContextError:
        return ()
    return tuple(call.parsed for call in reply.tool_calls)


CALLS = Job(
    "calls",
    "Function calls",
    {"right": "share", "called": "share", "tools": "mean", "all_calls": "share", "quiet": "share"},
    (
        Switch(
            "gate",
            "messages are held against the tools before the model is asked",
            {"gate": True},
            {"gate": False},
        ),
        Switch("split", "a call for each request of a message", {"split": True}, {"split": False}),
        Switch(
            "support",
            "optional arguments only where somebody spoke of them",
            {"only_supported": True},
            {"only_supported": False},
        ),
        Switch(
            "copied values",
            "texts and numbers must stand in the conversation",
            {"copy_values": True},
            {"copy_values": False},
        ),
    ),
    {"gate": True, "split": True, "only_supported": True},
    score,
)
