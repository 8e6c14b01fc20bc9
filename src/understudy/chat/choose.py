"""Which of many tools a prompt shows: as many as its budget holds, those first whose words the
message shares. Where not all have room they are shown as signatures.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from understudy.generation.calls import callable_tools
from understudy.generation.signatures import SHORTENED, signature
from understudy.generation.tools import Tool
from understudy.text import Tokenizer

_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")


def choose(
    tools: Sequence[Tool],
    text: str,
    tokenizer: Tokenizer,
    budget: int,
    *,
    keep: Collection[str] = (),
    written: Callable[[Tool], dict[str, Any]] = Tool.to_openai,
) -> tuple[tuple[Tool, ...], int]:
    """The tools to show, in their own order, and how many are left out.

    Args:
        budget: tokens for all of them; the first chosen is shown even if it is longer.
        keep: names that the conversation has used, which come first.
        written: how each is shown.
    """
    room = budget
    chosen: set[str] = set()
    for tool in tools if _surely_fits(tools, budget) else _ranked(tools, text, keep):
        cost = len(tokenizer.encode(json.dumps(written(tool), ensure_ascii=False)))
        if cost > room and chosen:
            if room < budget // 8:
                break
            continue
        room -= cost
        chosen.add(tool.name)
    return tuple(tool for tool in tools if tool.name in chosen), len(tools) - len(chosen)


def shown(
    tools: Sequence[Tool], text: str, tokenizer: Tokenizer, budget: int, *, keep: Collection[str]
) -> tuple[tuple[Tool, ...], list[dict[str, Any]], list[str]]:
    """As `choose`, of the chosen those that can be called, how they are shown, and a line for what
    is left out.
    """
    said: list[str] = []
    written: Callable[[Tool], dict[str, Any]] = Tool.to_openai
    chosen, unsaid = choose(tools, text, tokenizer, budget, keep=keep)
    if unsaid:
        written, said = signature, [SHORTENED]
        chosen, unsaid = choose(tools, text, tokenizer, budget, keep=keep, written=signature)
    if unsaid:
        said.append(f"tools: {unsaid} of {len(tools)} not shown")
    usable, _, notes = callable_tools(chosen, "auto")
    return usable, [written(tool) for tool in usable], [*said, *notes]


def _surely_fits(tools: Sequence[Tool], budget: int) -> bool:
    """A token is a byte at least, so a short list needs no ranking."""
    return (
        sum(len(json.dumps(tool.to_openai())) for tool in tools[:64]) <= budget and len(tools) <= 64
    )


def _ranked(tools: Sequence[Tool], text: str, keep: Collection[str]) -> list[Tool]:
    documents = [Counter(_words(f"{tool.name} {tool.name} {tool.description}")) for tool in tools]
    holding = Counter(word for document in documents for word in document)
    asked = set(_words(text))

    def score(document: Counter[str]) -> float:
        length = 1 + math.log1p(sum(document.values()))
        return (
            sum(
                math.log(1 + len(tools) / holding[word]) * document[word]
                for word in sorted(asked)
                if word in document
            )
            / length
        )

    order = sorted(
        range(len(tools)), key=lambda i: (tools[i].name not in keep, -score(documents[i]), i)
    )
    return [tools[i] for i in order]


def _words(text: str) -> list[str]:
    return [word.casefold()[:6] for word in _WORD.findall(text) if len(word) > 1]
