"""What of a card is not used here, in words: macros, lore, and `extensions` of other programs."""

from __future__ import annotations

from understudy.roleplay.card import Card
from understudy.roleplay.card_values import macro_notes
from understudy.roleplay.lorebook import Lorebook

_SCRIPTS = {  # fields of `extensions` that change what a reader's program does, and what they hold
    "regex_scripts": "SillyTavern's regex scripts",
    "tavern_helper": "scripts of SillyTavern's Tavern Helper",
    "TavernHelper_scripts": "scripts of SillyTavern's Tavern Helper",
    "risuai": "Risu's scripts, triggers and settings",
}


def card_notes(card: Card) -> list[str]:
    """Everything, for a person who looks at a card."""
    found = [*extension_notes(card), *(f"macros: {note}" for note in macro_notes(card))]
    if card.lorebook is not None:
        book = Lorebook(card.lorebook)
        found += [f"lorebook: {book}", *(f"not used: {warning}" for warning in book.warnings)]
    return found


def extension_notes(card: Card) -> list[str]:
    """What other programs keep in a card's `extensions` that would change how it plays there."""
    extensions = card.data.get("extensions") or {}
    found = [
        f"not used: extensions.{name}: {what} do not run here"
        for name, what in _SCRIPTS.items()
        if extensions.get(name)
    ]
    world = extensions.get("world")
    if world and card.lorebook is None:
        found.append(
            f"not used: extensions.world names the lorebook {world}, which is not in the card; "
            "give its file as a further lorebook"
        )
    return found
