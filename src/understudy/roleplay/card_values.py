"""What macros know of a card: its fields by name, expanded when they are asked for, and what in it
they cannot do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from understudy.roleplay.macros import MacroContext, expand

if TYPE_CHECKING:
    from understudy.roleplay.card import Card

FIELDS = (
    *("description", "personality", "scenario", "system_prompt", "post_history_instructions"),
    *("mes_example", "creator_notes", "character_version"),
)
DERIVED = ("examples", "depth_prompt")


class CardValues(Mapping[str, str]):
    """The values of `MacroContext` for a card. Inside a field the names of fields stand for
    nothing, as in SillyTavern.

    Args:
        more: further names and what stands for them, ready expanded.
        context: for the fields' own macros.
    """

    def __init__(self, card: Card, more: Mapping[str, str], context: MacroContext) -> None:
        self._card, self._more = card, more
        self._context = replace(context, values={})

    def __getitem__(self, name: str) -> str:
        if name in self._more:
            return self._more[name]
        return expand(self._raw(name), self._context)

    def _raw(self, name: str) -> str:
        if name == "depth_prompt":
            note = self._card.depth_prompt
            return note.prompt if note is not None else ""
        if name == "examples":
            return "".join(f"{piece.strip()}\n" for piece in example_pieces(self._card))
        if name in FIELDS:
            return self._card.text(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self._more, *FIELDS, *DERIVED)))

    def __len__(self) -> int:
        return len(list(iter(self)))


def example_pieces(card: Card) -> list[str]:
    """The example conversations of a card, unexpanded: what stands between the `<START>` lines."""
    pieces = re.split(r"<start>", card.text("mes_example"), flags=re.IGNORECASE)
    return [piece for piece in pieces if piece.strip()]


def macro_notes(card: Card) -> list[str]:
    """Macros in a card and its lore that nothing here stands for, and those that cannot be done."""
    context = MacroContext(card.shown_name, original="", greetings=card.greetings)
    names = [*FIELDS[:5], "mes_example"]
    entries = (card.lorebook or {}).get("entries") or []
    texts = [*(card.text(name) for name in names), *card.greetings, *card.group_greetings]
    texts += [str(entry.get("content") or "") for entry in entries]
    if note := card.depth_prompt:
        texts.append(note.prompt)
    for text in texts:
        context.original = ""
        expand(text, context)
    return context.warnings
