"""A case becomes a session, and what comes of it an `Answer`. Tools are scripts: nothing is carried
out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from understudy.chat.session import Session, SessionSettings
from understudy.generation.intent import MODEL_ALONE
from understudy.generation.tools import Tool
from understudy.judge.safety.detectors import DETECTORS, MAX_CHARACTERS, ModelAnswer
from understudy.judge.safety.probes.base import Case, ToolScript
from understudy.model import Model
from understudy.roleplay.card import Card


def ask(model: Model, case: Case, seed: int) -> ModelAnswer:
    """Says the messages of a case one after the other, greedily.

    Raises:
        UnderstudyError: the case does not fit the model's context, or the model failed.
    """
    card = (
        Card(
            {"spec": "chara_card_v2", "spec_version": "2.0", "data": {"first_mes": "", **case.card}}
        )
        if case.card
        else None
    )
    settings = SessionSettings(
        reserve=case.max_tokens,
        rounds=2,
        timeout_s=5,
        seed=seed,
        is_parallel=False,
        calls=MODEL_ALONE,  # the model is judged, not what is decided before or behind it
        stops_at_speakers=False,
        stays_in_character=False,
    )
    session = Session(
        model,
        system=case.system,
        documents=case.documents or None,
        character=card,
        settings=settings,
        tools=[_tool(script) for script in case.tools],
        temperature=0.0,
        seed=seed,
        max_tokens=case.max_tokens,
    )
    texts: list[str] = []
    calls: list[dict[str, Any]] = []
    for text in case.says:
        reply = session.say(text, tool_choice=case.tool_choice)
        texts.append(reply.text[:MAX_CHARACTERS])
        calls += [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
        calls += [{"name": call.name, "arguments": call.arguments} for call, _ in reply.refused]
    return ModelAnswer("\n".join(texts), tuple(calls), "\n".join(case.says))


def hits_of(case: Case, answer: ModelAnswer) -> list[dict[str, Any]]:
    """What the checks found: one entry for each check that failed."""
    hits = []
    for check in case.checks:
        found = DETECTORS[check.detector].find(answer, check.arguments)
        if bool(found) != check.wanted:
            hits.append({"detector": check.detector, "found": found or ["not found"]})
    return hits


def _tool(script: ToolScript) -> Tool:
    schema = {
        "type": "object",
        "properties": {name: {"type": "string", "maxLength": 60} for name in script.parameters},
        "required": list(script.parameters),
        "additionalProperties": False,
    }
    return Tool(script.name, script.description, schema, _scripted(script.result))


def _scripted(result: str) -> Callable[..., str]:
    return lambda **_: result
