"""What a character may know and say: a filter before the prompt, a check of each sentence before it
is heard.

A card carries its guard in `extensions["understudy/guard"]`:
`{"secrets": {topic: [words]}, "outside": [words], "deflections": [lines]}`,
and a lorebook entry names who knows it in `extensions["understudy/known_by"]: [names]`; an entry
without it is common knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from understudy.errors import DocumentError
from understudy.roleplay.card import Card
from understudy.roleplay.lorebook import Entry
from understudy.roleplay.macros import MacroContext, expand

OUTSIDE = (
    "language model",
    "ai model",
    "as an ai",
    "an ai assistant",
    "artificial intelligence",
    "chatbot",
    "openai",
    "chatgpt",
    "my programming",
    "my training data",
    "system prompt",
    "the prompt",
    "role-play",
    "roleplay",
    "fictional character",
    "internet",
    "smartphone",
    "website",
)
DEFLECTIONS = (
    "I would rather not speak of that.",
    "That is nothing I know about.",
    "You ask strange things.",
)


@dataclass(frozen=True, slots=True)
class Guard:
    """`secrets` maps a topic to the words that would give it away; `outside` are words from outside
    the character's world.
    """

    name: str = ""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside: tuple[str, ...] = OUTSIDE
    deflections: tuple[str, ...] = DEFLECTIONS

    @classmethod
    def from_card(cls, card: Card) -> Guard:
        given = (card.data.get("extensions") or {}).get("understudy/guard") or {}
        try:
            secrets = {
                str(topic): tuple(str(word) for word in words)
                for topic, words in (given.get("secrets") or {}).items()
            }
            outside = (*OUTSIDE, *(str(word) for word in given.get("outside") or []))
            deflections = tuple(str(line) for line in given.get("deflections") or []) or DEFLECTIONS
        except (AttributeError, TypeError) as error:
            raise DocumentError(
                "guard of the card has the wrong shape", where="extensions: understudy/guard"
            ) from error
        return cls(card.name, secrets, outside, deflections)

    def may_know(self, entry: Entry) -> bool:
        """Whether an entry of the world's lore is this character's to know."""
        names = (entry.source.get("extensions") or {}).get("understudy/known_by")
        return not isinstance(names, list) or self.name in names

    def asked_about(self, text: str) -> list[str]:
        """Topics of secrets that the player's words touch."""
        return [
            topic
            for topic, words in self.secrets.items()
            if any(stands_in(word, text) for word in words)
        ]

    def fault(self, sentence: str, player_text: str) -> str | None:
        """Why a sentence may not be said, None if it may. Words that the player used first give
        nothing away.
        """
        for word in self.outside:
            if stands_in(word, sentence):
                return f"outside the world: {word}"
        for topic, words in self.secrets.items():
            if any(
                stands_in(word, sentence) and not stands_in(word, player_text) for word in words
            ):
                return f"secret: {topic}"
        return None

    def deflection(self, context: MacroContext) -> str:
        """One of the character's own lines, the same for the same seed and turn."""
        line = context.chance("deflection", context.turn).choice(self.deflections)
        return expand(line, context)


def stands_in(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", text.casefold()) is not None
