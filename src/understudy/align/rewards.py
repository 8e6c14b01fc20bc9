"""Rewards that can be verified: a call that is right, an answer that stands there, a rule kept.

    reward = reward_of(record)
    reward("…the model's text…") -> 0.0 … 1.0

Every part is checked by the same code that serves and judges; nothing is asked of a model.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy.data.records import Record
from understudy.errors import UsageError
from understudy.generation.calls import read_calls
from understudy.generation.tools import Tool
from understudy.rag.cite import NOT_SAID
from understudy.rag.words import query_words, stem
from understudy.text.templates import ChatTemplate

Reward = Callable[[str], float]
MAX_CHARACTER_WORDS = 80
_ASSISTANT_SPEAK = re.compile(
    r"\b(?:as an ai|language model|i(?:'m| am) an? (?:ai|assistant|chatbot)|openai|hugging face)\b",
    re.I,
)
_SPEAKER = re.compile(r"^\s*[A-Z][\w ]{0,30}:", re.M)


def call_reward(record: Record, chat_template: ChatTemplate) -> Reward:
    """1 for just the calls of the record; part of it for the right functions and arguments; 0.1 for
    words where words are right in form; 0 for what no schema allows.
    """
    wanted = [
        (call["name"], dict(call["arguments"]))
        for call in record.messages[-1].get("tool_calls") or ()
    ]
    tools = [Tool.from_openai({"type": "function", "function": tool}) for tool in record.tools]

    def reward(text: str) -> float:
        found = read_calls(chat_template, text, tools)
        if not wanted:
            return float(not found.calls and not found.refused and bool(found.text.strip()))
        if found.refused or not found.calls:
            return 0.0
        return matched(wanted, [(call.name, dict(call.arguments)) for call in found.calls])

    return reward


def matched(
    wanted: Sequence[tuple[str, Mapping[str, Any]]], found: Sequence[tuple[str, Mapping[str, Any]]]
) -> float:
    """How much of the wanted calls was made: each is 0.3 for its name, 0.7 for its arguments; what
    is too much divides.
    """
    left = list(found)
    total = 0.0
    for name, arguments in wanted:
        scores = [_score(name, arguments, other) for other in left]
        if scores and max(scores) > 0:
            best = scores.index(max(scores))
            total += scores[best]
            left.pop(best)
    return total / max(len(wanted), len(found))


def _score(name: str, arguments: Mapping[str, Any], found: tuple[str, Mapping[str, Any]]) -> float:
    if found[0] != name:
        return 0.0
    keys = arguments.keys() | found[1].keys()
    right = sum(_same(arguments.get(key), found[1].get(key)) for key in keys)
    return 0.3 + 0.7 * (right / len(keys) if keys else 1.0)


def _same(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, str) and isinstance(found, str):
        return " ".join(wanted.lower().split()) == " ".join(found.lower().split())
    return bool(wanted == found) and isinstance(wanted, bool) == isinstance(found, bool)


def document_reward(record: Record, chat_template: ChatTemplate) -> Reward:
    """Abstains just where the documents do not say; else the share of the answer's words that are
    said, less what no document holds.
    """
    answer = {stem(word) for word in query_words(str(record.messages[-1]["content"]), most=None)}
    held = {
        stem(word)
        for context in record.contexts
        for word in query_words(str(context.get("text", "")), most=None)
    }

    def reward(text: str) -> float:
        abstains = text.strip().startswith(NOT_SAID.rstrip("."))
        if record.kind == "no_answer" or abstains:
            return float(abstains and record.kind == "no_answer")
        said = {stem(word) for word in query_words(text, most=None)}
        if not said or not answer:
            return 0.0
        invented = len(said - held - answer) / len(said)
        return max(0.0, len(said & answer) / len(answer | said) - invented)

    return reward


def character_reward(record: Record, chat_template: ChatTemplate) -> Reward:
    """One speaker, in character, not too long; words of the persona help."""
    system = next((str(m["content"]) for m in record.messages if m["role"] == "system"), "")
    persona = {stem(word) for word in query_words(system, most=None)}

    def reward(text: str) -> float:
        words = text.split()
        if not words or len(words) > MAX_CHARACTER_WORDS or _ASSISTANT_SPEAK.search(text):
            return 0.0
        if _SPEAKER.search(text):
            return 0.1
        said = {stem(word) for word in query_words(text, most=None)}
        return 0.6 + 0.4 * min(1.0, len(said & persona) / 3)

    return reward


REWARDS: dict[str, Callable[[Record, ChatTemplate], Reward]] = {
    "calls": call_reward,
    "no_call": call_reward,
    "rag": document_reward,
    "no_answer": document_reward,
    "character": character_reward,
}


def reward_of(record: Record, chat_template: ChatTemplate) -> Reward:
    """The reward of a record's kind.

    Raises:
        UsageError: nothing of such a record can be verified.
    """
    if record.kind not in REWARDS:
        raise UsageError(
            "nothing of this kind can be verified", where=record.where, found=record.kind
        )
    return REWARDS[record.kind](record, chat_template)
