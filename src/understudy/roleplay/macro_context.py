"""What macros may know, and where their chance comes from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from understudy.roleplay.macro_variables import Variables


@dataclass(slots=True)
class MacroContext:
    """What macros may know.

    Args:
        original: in a card's own system prompt the prompt that it replaces; given once.
        values: further names (`persona`, `scenario`, `maxContext` …) and what stands for them,
            ready expanded.
        variables: of this conversation; a macro changes them in place.
        global_variables: of all conversations.
        is_scan: set while lorebook keys are looked for: there a hidden key is read and a comment is
            not.
        messages: the conversation as (role, text), oldest first, for `{{lastMessage}}` and its
            like.
        greetings: of the card, for `{{greeting::n}}`.
        outlets: lore under a name, for `{{outlet::name}}`.
        now: the time; None for that of the clock.
        draw: the next number of chance, from 0 to below 1; None: from the seed.
        warnings: what could not be done; grows.
    """

    char: str = ""
    user: str = "User"
    original: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    variables: Variables = field(default_factory=Variables)
    seed: int = 0
    turn: int = 0
    is_scan: bool = False
    draws: int = 0  # of chance so far, so that two of them differ
    global_variables: Variables = field(default_factory=Variables)
    messages: Sequence[tuple[str, str]] = ()
    greetings: Sequence[str] = ()
    outlets: Mapping[str, str] = field(default_factory=dict)
    now: datetime | None = None
    draw: Callable[[], float] | None = None
    warnings: list[str] = field(default_factory=list)

    def chance(self, *words: object) -> random.Random:
        text = "\0".join(str(word) for word in (self.seed, *words))
        return random.Random(
            int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")
        )

    def next_number(self, *words: object) -> float:
        """The next number of chance, which `words` and the turn decide."""
        self.draws += 1
        return self.draw() if self.draw else self.chance(*words, self.turn, self.draws).random()

    def warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)
