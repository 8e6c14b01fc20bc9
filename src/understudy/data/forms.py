"""Records in the very forms in which the product asks: calls as the server does, documents as
`rag.ask`, characters as `roleplay`.

    forms.calls(record)
    forms.documents(record, embed, spec)
    forms.character(record)
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.data.encode import Dialogue
from understudy.data.records import Message, Record
from understudy.generation.plan import Block, Turn
from understudy.rag.cite import NOT_SAID
from understudy.rag.ground import PassageGrounding
from understudy.rag.sentences import rank_sentences
from understudy.rag.settings import AnswerSettings
from understudy.rag.store import ChunkRow, Passage
from understudy.roleplay.card import Card
from understudy.roleplay.played import PlayedCharacter
from understudy.spec import ModelSpec
from understudy.text.templates import ChatTemplate

Embed = Callable[[Sequence[str]], NDArray[np.float32]]
_WHO = re.compile(r"You are (?:a |an |the )?(?P<name>[^.,\n]+?)(?: in (?P<world>[^.\n]+))?[.,\n]")
_PARTNER = re.compile(r"\s*The user speaks as (?P<name>[^.]+)\.")
MAX_NAME = 40


def openai_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Bare functions as OpenAI's tools, which is what templates announce."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool.get("description", ""),
                "parameters": dict(tool.get("parameters") or {"type": "object", "properties": {}}),
            },
        }
        for tool in tools
    ]


def openai_message(message: Message) -> dict[str, Any]:
    """A message as a chat template takes it."""
    plain = {"role": message["role"], "content": message.get("content") or ""}
    if calls := message.get("tool_calls"):
        plain["tool_calls"] = [{"type": "function", "function": dict(call)} for call in calls]
    return plain


def calls(record: Record) -> Dialogue:
    """As `POST /v1/chat/completions` with tools, or a plain chat where there are none."""
    messages = [openai_message(message) for message in record.messages]
    return Dialogue(messages, openai_tools(record.tools), kind=record.kind)


def documents(
    record: Record, embed: Embed, spec: ModelSpec, *, may_abstain: bool
) -> Dialogue | None:
    """As `rag.ask`: the best sentences of the passages for a small model, then the question.

    None where the form does not hold the answer: its sentence was not among the best.
    """
    question = str(record.messages[-2]["content"])
    answer = str(record.messages[-1]["content"])
    passages = [_passage(i, c) for i, c in enumerate(record.contexts)]
    sentences = rank_sentences(question, passages, embed, {})
    found = PassageGrounding(tuple(passages), 1.0, question=question, sentences=sentences)
    found = found.for_model(spec, AnswerSettings(may_abstain=may_abstain))
    contexts = found.contexts
    # rows of tables are shown with the names of their columns, and quoted as they stand
    seen = [s.text for s in found.sentences[: found.num_shown or 0]]
    if record.kind == "rag" and not _holds(record, [*contexts, *seen]):
        return None
    said = NOT_SAID if record.kind == "no_answer" else answer
    return Dialogue(
        [
            {"role": "system", "content": found.instructions},
            {"role": "user", "content": question},
            {"role": "assistant", "content": said},
        ],
        contexts=contexts,
        kind=record.kind,
    )


def _holds(record: Record, contexts: Sequence[str]) -> bool:
    shown = " ".join(" ".join(contexts).split())
    quotes = record.messages[-1].get("quotes") or ()
    return any(" ".join(str(quote["text"]).split())[:80] in shown for quote in quotes)


def _passage(number: int, context: Mapping[str, Any]) -> Passage:
    title, text = str(context.get("title") or ""), str(context.get("text") or "")
    chunk = ChunkRow(
        number, title, title, 0, len(text), title, (0, len(text)), len(text) // 4, None, text
    )
    return Passage(chunk, 1.0 / (number + 1))


def character(record: Record, chat_template: ChatTemplate) -> Dialogue | None:
    """As a character is played: a card out of the system text, then the scene's turns."""
    card, user = card_of(record)
    if card is None:
        return None
    spoken = [message for message in record.messages if message["role"] != "system"]
    if len(spoken) < 2 or spoken[0]["role"] != "user" or spoken[-1]["role"] != "assistant":
        return None
    part = PlayedCharacter(card, user=user)
    turns = [Turn(str(m["role"]), [Block("history", str(m["content"]))]) for m in spoken[:-2]]
    plan = part.plan(
        turns, str(spoken[-2]["content"]), count_tokens=lambda text: len(text) // 4, context=2048
    )
    standing = Turn("system", plan.standing)
    rendered = [standing, *plan.history, *plan.newest]
    messages = [turn.to_message() for turn in rendered]
    messages.append({"role": "assistant", "content": str(spoken[-1]["content"])})
    return Dialogue(messages, kind="character")


def card_of(record: Record) -> tuple[Card | None, str]:
    """A card out of a system text like "You are NAME in WORLD. PERSONA", and who the user plays."""
    system = next((str(m["content"]) for m in record.messages if m["role"] == "system"), "")
    match = _WHO.match(system)
    if match is None or len(match["name"]) > MAX_NAME:
        return None, ""
    rest = system[match.end() :].replace("Stay in character.", "").strip()
    partner = _PARTNER.search(rest)
    user = partner["name"].strip() if partner else "Traveller"
    rest = _PARTNER.sub("", rest).strip()
    world = f"From {match['world']}." if match["world"] else ""
    name = match["name"].strip()
    name = name[0].upper() + name[1:]
    text = f"{rest} {world}".strip() or f"{name} is a character."
    fields = {"name": name, "description": text}
    empty = dict.fromkeys(("personality", "scenario", "first_mes", "mes_example"), "")
    return Card({**fields, **empty}), user


def shuffled_contexts(record: Record, chance: random.Random) -> Record:
    """The record with its passages in another order; quotes follow."""
    order = list(range(len(record.contexts)))
    chance.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    messages = []
    for message in record.messages:
        quotes = message.get("quotes")
        if quotes:
            moved = [{**q, "context": place[q["context"]]} for q in quotes]
            message = {**message, "quotes": moved}
        messages.append(message)
    contexts = tuple(record.contexts[old] for old in order)
    return replace(record, messages=tuple(messages), contexts=contexts)
