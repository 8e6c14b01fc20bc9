"""What an assistant says where no function is called: it declines, or asks for what is missing.

Many forms, so that the decision is learnt and not a phrase.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.data.requests import words_of

_DECLINED = (
    "I'm sorry, I can't help with that here.",
    "That is not something I can do.",
    "I have no function for that, sorry.",
    "Sorry, none of my functions does that.",
    "I can't do that with the tools I have.",
    "Unfortunately that is outside of what I can do.",
    "I am afraid I cannot help with that.",
    "That's beyond what I can do at the moment.",
    "There is nothing I can call for this.",
    "I don't have a way to do that.",
)
_INSTEAD = (
    " I can {wish}, though.",
    " What I can do is {wish}.",
    " If you like, I can {wish}.",
    " I could {wish} instead.",
    " But I can {wish}.",
)
_ASKED = (
    "What is the {name}?",
    "Which {name} do you mean?",
    "Could you tell me the {name}?",
    "I need the {name} for that.",
    "Sure. What {name} should I use?",
    "Please give me the {name}.",
)


def declined(tools: Sequence[Mapping[str, Any]], chance: random.Random) -> str:
    """Words for a wish that no function serves; half of the time with what could be done."""
    said = chance.choice(_DECLINED)
    wishes = [wish for tool in tools if (wish := wish_of(tool))]
    if not wishes or chance.random() < 0.5:
        return said
    return said + chance.choice(_INSTEAD).format(wish=chance.choice(wishes))


def asked(names: Sequence[str], chance: random.Random) -> str:
    """A question for required parameters that nobody gave."""
    named = " and the ".join(words_of(name) for name in names)
    return chance.choice(_ASKED).format(name=named)


_NAMES_A_THING = re.compile(r"(?:(?!\b(?:a|an|the)\b).)*?\b(?:of|at|between|that)\b", re.I)
_VERB = re.compile(
    "get|retrieve|calculate|compute|find|list|search|show|look|check|fetch|give|return|provide|"
    "estimate|determine|update|add|create|count|set|play|convert|analyze|track|remove|delete|change"
)


def wish_of(tool: Mapping[str, Any]) -> str:
    """A description as a verb phrase: "Gets the weather." -> "get the weather".

    Empty where it names a thing ("Population of a country.") or is long.
    """
    text = str(tool.get("description", "")).strip().rstrip(".")
    if not text or "." in text or len(text) > 90:
        return ""
    first, _, rest = text.partition(" ")
    verb = first.lower()
    if verb.endswith("es") and verb[:-2].endswith(("sh", "ch", "ss", "x")):
        verb = verb[:-2]
    elif verb.endswith("s") and not verb.endswith("ss"):
        verb = verb[:-1]
    if not _VERB.fullmatch(verb) and _NAMES_A_THING.match(text):
        return ""
    return f"{verb} {rest}" if rest else ""
