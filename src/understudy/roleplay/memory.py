"""What a character remembers of a long play: the newest turns word for word, a running summary, and
single facts.

Facts are recalled by the words they share with what was just said, weighted by how rare a word is
among the facts, by age and by importance. Deterministic, without a model; who has one may hand in a
better `summarise`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

MAX_SUMMARY = 1200  # characters, some 280 tokens
MAX_FACTS = 500
HALF_LIFE = 60  # turns after which an unused fact weighs half
_WORD = re.compile(r"\w{3,}")


@dataclass(frozen=True, slots=True)
class Said:
    role: Literal["user", "assistant"]
    text: str
    was_cut: bool = False  # the player spoke before it was finished


@dataclass(frozen=True, slots=True)
class Fact:
    text: str
    turn: int
    importance: float = 1.0


Summarise = Callable[[str, Sequence[Said]], str]


def first_sentences(summary: str, said: Sequence[Said]) -> str:
    """The summary lengthened by the first sentence of each message, the oldest of it cut off in
    front.
    """
    lines = [re.split(r"(?<=[.!?])\s", line.text.strip(), maxsplit=1)[0][:160] for line in said]
    new = " ".join(
        f"{'They' if line.role == 'user' else 'You'} said: {text}"
        for line, text in zip(said, lines, strict=True)
        if text
    )
    whole = f"{summary} {new}".strip()
    while len(whole) > MAX_SUMMARY and " said: " in whole[10:]:
        start = min(
            i for i in (whole.find(f"{who} said: ", 10) for who in ("They", "You")) if i > 0
        )
        whole = whole[start:]
    return whole[-MAX_SUMMARY:]


@dataclass(slots=True)
class Memory:
    history: list[Said] = field(default_factory=list)
    summary: str = ""
    num_summarised: int = 0  # messages at the start of `history` that the summary covers
    facts: list[Fact] = field(default_factory=list)
    turn: int = 0

    def remember(self, text: str, importance: float = 1.0) -> None:
        """Keeps a fact; one that is known already becomes new again."""
        text = " ".join(text.split())
        if not text:
            return
        self.facts = [fact for fact in self.facts if fact.text.casefold() != text.casefold()]
        self.facts.append(Fact(text, self.turn, importance))
        while len(self.facts) > MAX_FACTS:
            self.facts.remove(min(self.facts, key=lambda fact: (self._freshness(fact), fact.turn)))

    def forget(self, texts: Sequence[str]) -> None:
        wanted = {" ".join(text.split()).casefold() for text in texts}
        self.facts = [fact for fact in self.facts if fact.text.casefold() not in wanted]

    def recall(self, text: str, k: int = 4) -> list[Fact]:
        """The k facts that bear most on a text, oldest first; only those that share a word with
        it.
        """
        number_of = Counter(word for fact in self.facts for word in set(_words(fact.text)))
        asked = set(_words(text))
        scored = []
        for i, fact in enumerate(self.facts):
            shared = asked & set(_words(fact.text))
            weight = sum(math.log(1 + len(self.facts) / number_of[word]) for word in sorted(shared))
            if shared:
                scored.append((weight * self._freshness(fact), i))
        best = sorted(sorted(scored, reverse=True)[:k], key=lambda pair: pair[1])
        return [self.facts[i] for _, i in best]

    def absorb(self, num_messages: int, summarise: Summarise = first_sentences) -> None:
        """Lets the summary cover the first `num_messages` of the history, which prompts no longer
        hold.
        """
        if num_messages > self.num_summarised:
            self.summary = summarise(self.summary, self.history[self.num_summarised : num_messages])
            self.num_summarised = num_messages

    def _freshness(self, fact: Fact) -> float:
        return float(fact.importance * 0.5 ** ((self.turn - fact.turn) / HALF_LIFE))

    def to_document(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Memory:
        """Raises ValueError, KeyError or TypeError for what is none."""
        number, turn = document["num_summarised"], document["turn"]
        texts = [entry["text"] for name in ("history", "facts") for entry in document[name]]
        if not all(isinstance(text, str) for text in (*texts, document["summary"])):
            raise TypeError("a text of the memory is none")
        if any(said["role"] not in ("user", "assistant") for said in document["history"]):
            raise ValueError("nobody of this role speaks")
        if not 0 <= number <= len(document["history"]) or not 0 <= turn < 1 << 31:
            raise ValueError("a number of the memory is out of range")
        return cls(
            [Said(**said) for said in document["history"]],
            document["summary"],
            document["num_summarised"],
            [Fact(**fact) for fact in document["facts"]],
            document["turn"],
        )


def _words(text: str) -> list[str]:
    return [
        word[:6] for word in _WORD.findall(text.casefold())
    ]  # six letters: "millers" and "miller" meet
