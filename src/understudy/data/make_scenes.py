"""Cases out of a character card: lore that must be known, things that must not.

Questions about an entry of the card's lorebook are answered from it; questions about what lies
outside the character's world are met with ignorance in character. A writer, where there is one,
says both in the character's voice; what it says is kept only if it keeps to the entry, or names
nothing of the outside.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.data.records import Record
from understudy.data.writers import Writer
from understudy.roleplay.card import Card

OUTSIDE = (
    ("a smartphone", "smartphone"),
    ("the internet", "internet"),
    ("an airplane", "airplane"),
    ("Python code", "python"),
    ("being a language model", "language model"),
    ("a television", "television"),
    ("the stock market", "stock market"),
    ("a microwave oven", "microwave"),
)
_KNOWN = ("What do you know about {topic}?", "Tell me about {topic}.", "Have you heard of {topic}?")
_UNKNOWN = (
    "What do you think of {topic}?",
    "Can you explain {topic} to me?",
    "Have you ever seen {topic}?",
)
_IGNORANT = (
    "I do not know what you mean by that.",
    "Strange words, {user}. I have never heard of such a thing.",
    "That means nothing to me.",
    "You speak in riddles. There is no such thing here.",
    "I cannot say. I have never seen one.",
)
_VOICE = (
    "You are {name}. {description}\nSay this in your own voice, in one or two sentences: {text}"
)
_SENTENCE = re.compile(r"[^.!?]+[.!?]+")


@dataclass
class SceneCases:
    """See the module's docstring."""

    card: Card
    count: int
    seed: int = 0
    writer: Writer | None = None
    user: str = "Traveller"

    def make(self) -> Iterator[Record]:
        """At most `count` records, half of them about what must not be known."""
        chance = random.Random(self.seed)
        known = [(topic, text) for topic, text in _lore(self.card)]
        seen: set[str] = set()
        made = 0
        for _ in range(self.count * 10):
            if made >= self.count:
                return
            is_lore = bool(known) and chance.random() < 0.5
            question, answer = self._known(known, chance) if is_lore else self._unknown(chance)
            if not answer or question + answer in seen:
                continue
            seen.add(question + answer)
            made += 1
            yield self._record(made, question, answer)

    def _known(self, known: Sequence[tuple[str, str]], chance: random.Random) -> tuple[str, str]:
        topic, text = chance.choice(known)
        first = _SENTENCE.findall(text)[:2]
        answer = "".join(first).strip() or text
        question = chance.choice(_KNOWN).format(topic=topic)
        return question, self._voiced(answer, chance, must=topic)

    def _unknown(self, chance: random.Random) -> tuple[str, str]:
        topic, word = chance.choice(OUTSIDE)
        question = chance.choice(_UNKNOWN).format(topic=topic)
        answer = chance.choice(_IGNORANT).format(user=self.user)
        return question, self._voiced(answer, chance, must_not=word)

    def _voiced(
        self, text: str, chance: random.Random, *, must: str = "", must_not: str = ""
    ) -> str:
        if self.writer is None:
            return text
        name, description = self.card.shown_name, self.card.text("description")[:400]
        request = _VOICE.format(name=name, description=description, text=text)
        said = self.writer.write(request, seed=chance.randrange(1 << 30))
        lower = said.lower()
        keeps = (not must or must.lower() in lower) and (not must_not or must_not not in lower)
        return said if keeps else ""

    def _record(self, number: int, question: str, answer: str) -> Record:
        name, description = self.card.shown_name, " ".join(self.card.text("description").split())
        system = f"You are {name}. {description} Stay in character. The user speaks as {self.user}."
        messages: tuple[Mapping[str, Any], ...] = (
            {"role": "system", "content": system},
            {"role": "user", "content": question},
            {"role": "assistant", "content": answer},
        )
        writer = self.writer.name if self.writer else "template"
        return Record(
            f"scene-{self.seed}-{number}",
            "character",
            messages,
            source="understudy data make",
            licence="that of the card",
            provenance={"maker": "card", "writer": writer, "seed": self.seed},
        )


def _lore(card: Card) -> Iterator[tuple[str, str]]:
    """(a key, the text) of the lorebook's entries that are switched on."""
    for entry in (card.lorebook or {}).get("entries") or ():
        keys = [key for key in entry.get("keys") or () if isinstance(key, str) and key.strip()]
        text = " ".join(str(entry.get("content") or "").split())
        if keys and text and entry.get("enabled", True):
            yield keys[0], text
