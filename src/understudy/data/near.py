"""Near misses: functions like those that are offered, which are not offered themselves.

A model that learns to decline only where the message is about something else calls whatever is
nearest. So some messages ask for a neighbour of the functions on offer. Twins, which the offered
function might serve as well, are left out.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.generation.message.words import content_words

TWIN = 0.4  # share of words in common from which on two functions may mean the same
NEAREST = 4


def words_about(tool: Mapping[str, Any]) -> set[str]:
    """What a function's name and description tell."""
    return content_words(f"{tool['name']} {tool.get('description', '')}")


def likeness(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Words in common over all words of two functions, 0 to 1."""
    return _in_common(words_about(one), words_about(other))


def _in_common(one: set[str], other: set[str]) -> float:
    return len(one & other) / (len(one | other) or 1)


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
    offered = {tool["name"]: words_about(tool) for tool in tools}
    ranked = []
    for other in others:
        words = words_about(other)
        nearness = max(_in_common(words, those) for those in offered.values())
        if other["name"] not in offered and nearness < TWIN:
            ranked.append((nearness, other))
    ranked.sort(key=lambda pair: -pair[0])
    return chance.choice(ranked[:NEAREST])[1] if ranked else None
