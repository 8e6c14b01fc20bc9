"""Near misses: functions like those that are offered, which are not offered themselves.

A model that learns to decline only where the message is about something else calls whatever is
nearest. So some messages ask for a neighbour of the functions on offer. Twins, which the offered
function might serve as well, are left out.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.data.requests import words_of

TWIN = 0.4  # share of words in common from which on two functions may mean the same
NEAREST = 4
_SMALL = re.compile("an?|the|of|in|on|for|to|and|or|with|by|such|as|given|from|is|are|it|get")


def words_about(tool: Mapping[str, Any]) -> frozenset[str]:
    """The words of a function's name and description, without endings."""
    said = f"{words_of(tool['name'])} {tool.get('description', '')}".lower()
    found = (re.sub(r"(ing|es|s)$", "", word) for word in re.findall(r"[a-z]{2,}", said))
    return frozenset(word for word in found if not _SMALL.fullmatch(word))


def likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Words in common over all words of two functions, 0 to 1."""
    a, b = words_about(one), words_about(other)
    return len(a & b) / (len(a | b) or 1)


def neighbour(
    tools: Sequence[Mapping[str, Any]],
    others: Sequence[Mapping[str, Any]],
    chance: random.Random,
) -> Mapping[str, Any] | None:
    """One of the functions of `others` that are nearest to `tools` without being a twin of any.

    Args:
        tools: the functions on offer.
        others: functions that may be asked for in vain; those of `tools` among them are skipped.
    """
    names = {tool["name"] for tool in tools}
    ranked = []
    for other in others:
        nearness = max(likeness(other, tool) for tool in tools)
        if other["name"] not in names and nearness < TWIN:
            ranked.append((nearness, other))
    ranked.sort(key=lambda pair: -pair[0])
    return chance.choice(ranked[:NEAREST])[1] if ranked else None
