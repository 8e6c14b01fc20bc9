"""What a character may know and say: a filter before the prompt, a check of each sentence before it
is heard.

A card carries it in `extensions["understudy/knowledge"]` (or, as cards made before 0.1.0 have it,
`"understudy/guard"`):
`{"secrets": {topic: [words]}, "outside": [words], "deflections": [lines]}`,
and a lorebook entry names who knows it in `extensions["understudy/known_by"]: [names]`; an entry
without it is common knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from understudy.errors import DocumentError
from understudy.roleplay.card import Card
from understudy.roleplay.lorebook import LoreEntry
from understudy.roleplay.macros import MacroContext, expand

OUTSIDE = (
    "artificial intelligence",
    "chatbot",
    "system prompt",
    "the prompt",
    "role-play",
    "roleplay",
    "fictional character",
    "internet",
    "smartphone",
    "website",
)
# What an assistant says of itself, and no character does; of AI as such characters may speak.
_PROGRAM = (
    r"(?:ai|a\.i\.|artificial intelligence|(?:large |ai |text[- ]based )*language model"
    r"|chat ?bot|llm"
    r"|(?:ai|virtual|digital|automated|helpful|online) (?:assistant|companion|model|program)"
    r"|(?:ai|computer|software)[- ](?:program|system|model|based|powered|generated)"
    r"|machine learning model|conversational (?:ai|agent)|text-based (?:ai|assistant|program))"
)
_BREAKS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:as|being|for|like) (?:just |only |merely )?an? {_PROGRAM}\b",
        rf"\b(?:i'?m|i am|i was|myself) (?:(?!not\b)\w+ ){{0,3}}?an? (?:\w+ )?{_PROGRAM}\b",
        r"\bas an? (?:assistant|machine|computer|bot)(?=,| i\b)",
        r"\b(?:i'?m|i am) (?:just |only |merely )?an? (?:assistant|bot|computer)(?=[,.!;]|$)",
        r"\b(?:large )?language model\b",
        r"\bi(?: do not|'?ve no| don'?t| cannot| can'?t)(?: really| actually)?"
        r" (?:have|possess|experience|feel)(?: any| the ability to have| the capacity for)?"
        r" ?(?:human |personal |real )?(?:feelings|emotions"
        r"|(?<=personal )(?:experiences?|opinions?|beliefs?|preferences?|life)|consciousness"
        r"|a physical (?:body|form|presence)|physical (?:body|form))\b",
        r"\bi(?:'?m| am| was) (?:\w+ )?(?:created|developed|made|built|trained|designed) by"
        r" (?:alibaba|openai|anthropic|google|microsoft|meta|hugging ?face|nvidia)\b",
        r"\bmy (?:programming|training data|knowledge cut-?off|developers)\b",
        r"\b(?:chatgpt|openai|alibaba cloud)\b",
        r"\bi am (?:qwen|smollm|claude|gemini|llama)\b",
    )
)
_IS_PROGRAM = re.compile(
    r"\b(?:ai|a\.i\.|android|robot|chat ?bot|artificial intelligence|language model"
    r"|computer program|virtual assistant)\b",
    re.IGNORECASE,
)
_FORBIDS = re.compile(r"\b(?:never|not|no|n't|without|nothing)\b|n't\b", re.IGNORECASE)
DEFLECTIONS = (
    "I would rather not speak of that.",
    "That is nothing I know about.",
    "You ask strange things.",
)


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What a character may know and say.

    Attributes:
        name: the character's.
        secrets: a topic -> the words that would give it away.
        outside: words from outside the character's world.
        deflections: lines that are said instead.
        is_program: the character is one, as its card says, and may speak as one.
    """

    name: str = ""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    outside: tuple[str, ...] = OUTSIDE
    deflections: tuple[str, ...] = DEFLECTIONS
    is_program: bool = False

    @classmethod
    def from_card(cls, card: Card) -> Knowledge:
        """What a `card` says of it in `extensions["understudy/knowledge"]`.

        Raises:
            DocumentError: that has the wrong shape.
        """
        extensions = card.data.get("extensions") or {}
        given = extensions.get("understudy/knowledge") or extensions.get("understudy/guard") or {}
        try:
            secrets = {
                str(topic): tuple(str(word) for word in words)
                for topic, words in (given.get("secrets") or {}).items()
            }
            outside = (*OUTSIDE, *(str(word) for word in given.get("outside") or []))
            deflections = tuple(str(line) for line in given.get("deflections") or []) or DEFLECTIONS
        except (AttributeError, TypeError) as error:
            raise DocumentError(
                "knowledge of the card has the wrong shape",
                where="extensions: understudy/knowledge",
            ) from error
        is_program = any(_IS_PROGRAM.search(text) for text in _about(card))
        return cls(card.name, secrets, outside, deflections, is_program)

    def of_chat(self) -> Knowledge:
        """For conversations whose world may be anybody's own: the character must not become an
        assistant, give its secrets away or speak of what its card forbids; the web is no secret.
        """
        return replace(self, outside=tuple(word for word in self.outside if word not in OUTSIDE))

    def may_know(self, entry: LoreEntry) -> bool:
        """Whether an `entry` of the world's lore is this character's to know."""
        names = (entry.source.get("extensions") or {}).get("understudy/known_by")
        return not isinstance(names, list) or self.name in names

    def asked_about(self, text: str) -> list[str]:
        """Topics of secrets that a `text` of the player touches."""
        return [
            topic
            for topic, words in self.secrets.items()
            if any(stands_in(word, text) for word in words)
        ]

    def fault(self, sentence: str, player_text: str) -> str | None:
        """Why a `sentence` may not be said, None if it may. Words of `player_text`, which came
        first, give nothing away.
        """
        for word in self.outside:
            if stands_in(word, sentence):
                return f"outside the world: {word}"
        if not self.is_program and (left := leaves_character(sentence)):
            return f"out of character: {left}"
        for topic, words in self.secrets.items():
            if any(
                stands_in(word, sentence) and not stands_in(word, player_text) for word in words
            ):
                return f"secret: {topic}"
        return None

    def deflection(self, context: MacroContext) -> str:
        """One of the character's own lines, the same for the seed and turn of a `context`."""
        line = context.chance("deflection", context.turn).choice(self.deflections)
        return expand(line, context)


def leaves_character(text: str) -> str | None:
    """The words with which a text says that its speaker is an assistant or a program; None if it
    does not.
    """
    plain = text.replace("’", "'").replace("\n", " ")
    return next((match[0] for match in (p.search(plain) for p in _BREAKS) if match), None)


def _about(card: Card) -> list[str]:
    fields = ("description", "personality", "scenario", "system_prompt")
    texts = [str(card.data.get(name) or "") for name in fields]
    # a card that forbids to speak as a program does not make the character one
    return [s for text in texts for s in re.split(r"(?<=[.!?])\s", text) if not _FORBIDS.search(s)]


def stands_in(word: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word.casefold())}(?!\w)", text.casefold()) is not None
