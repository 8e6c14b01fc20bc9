"""Characters: cards and the files they travel in, lorebooks, macros, memory of a long play, and
turns for games.

    card.py                what a card is; card_files, png, charx: the files it travels in
    card_formats.py        characters of other programs; card_notes: what of a card is not used here
    lorebook.py            a book; lore: asking several; lore_formats: books of other programs
    lore_v3.py             rules by which entries are called up: the V3 text's
    lore_sillytavern.py    … SillyTavern's (lore_search, lore_groups, lore_effects, world_entry)
    patterns.py            keys that are JavaScript's regular expressions (charsets, javascript)
    macros.py              what stands for what (macro_*, moments, card_values)
    layout.py              the order of a prompt
    memory.py              what is remembered over a long play
    npc.py                 a turn of a game character; acting, speech, deeds, conditions
    state.py               the game and its reducer
    knowledge.py           what a character may know and say
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from understudy.shown import shown

if TYPE_CHECKING:
    from understudy.roleplay.card import Card
    from understudy.roleplay.card_files import read_card, write_card
    from understudy.roleplay.knowledge import Knowledge
    from understudy.roleplay.lorebook import Lorebook
    from understudy.roleplay.npc import Npc, NpcSettings, NpcTurn
    from understudy.roleplay.state import Action, ActionKind, GameState, Reducer, Refused

__all__ = [
    "Action",
    "ActionKind",
    "Card",
    "GameState",
    "Knowledge",
    "Lorebook",
    "Npc",
    "NpcSettings",
    "NpcTurn",
    "Reducer",
    "Refused",
    "read_card",
    "write_card",
]
__getattr__ = shown(__name__, __all__)
