"""From a character and what its lorebooks called up to the blocks of a prompt (`chat.plan` makes
them fit).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from understudy.generation.plan import Block, Plan, Turn
from understudy.roleplay.card import Card
from understudy.roleplay.card_values import example_pieces
from understudy.roleplay.lorebook import Found, Placed
from understudy.roleplay.macros import MacroContext, expand

NOTE_DEPTH = 4  # messages back: where SillyTavern's author's note stands
DEFAULT_SYSTEM = (
    "You are {{char}}. Stay in character and answer {{user}} in a few sentences, as {{char}} would "
    "speak."
)


@dataclass(slots=True)
class Scene:
    """Everything that a character's prompt is made of."""

    card: Card
    macros: MacroContext
    lore: Found
    history: Sequence[Turn]
    player_text: str
    summary: str = ""
    memories: list[str] = field(default_factory=list)
    note: str = ""  # the state of the game, and what the character must not know
    system: str = ""  # what the caller adds to the system text


def plan(scene: Scene) -> Plan:
    """The plan of a scene."""
    scene.macros.outlets = scene.lore.outlets
    standing, inserts = _standing(scene), _inserts(scene)
    tail = [Block("user", scene.player_text)]
    if "post_history_instructions" not in scene.lore.disabled_prompts and (
        text := scene.card.text("post_history_instructions")
    ):
        tail.append(Block("persona", expand(text, replace(scene.macros, original=""))))
    return Plan(
        standing,
        list(scene.history),
        [Turn("user", [*_volatile(scene), *tail])],
        inserts=inserts,
        dropped=[f"lore: {label} ({rule})" for label, rule in scene.lore.dropped],
    )


def _inserts(scene: Scene) -> list[tuple[int, str, Block]]:
    """What counts its place from the newest message: the card's note, notes of lore, and lore at a
    depth.
    """
    found: list[tuple[int, str, Block]] = []
    if note := scene.card.depth_prompt:
        text = expand(note.prompt, scene.macros)
        found.append((note.depth, note.role, Block("persona", text)))
    notes = [*scene.lore.at("note_top"), *scene.lore.at("note_bottom")]
    if notes:
        found.append((NOTE_DEPTH, "system", _lore_of(notes)))
    places: dict[tuple[int, str], list[Placed]] = {}
    for placed in scene.lore.at("depth"):
        places.setdefault((placed.depth, placed.role), []).append(placed)
    return found + [(depth, role, _lore_of(group)) for (depth, role), group in places.items()]


def _examples(card: Card, macros: MacroContext) -> list[str]:
    return [expand(piece, macros).strip() for piece in example_pieces(card)]


def _standing(scene: Scene) -> list[Block]:
    card, lore = scene.card, scene.lore
    default = expand(DEFAULT_SYSTEM, scene.macros)
    given = card.text("system_prompt") if "system_prompt" not in lore.disabled_prompts else ""
    blocks = [
        Block(
            "system",
            expand(given, replace(scene.macros, original=default)) if given.strip() else default,
        )
    ]

    def add_lore(position: Any) -> None:
        blocks.extend(_lore(placed) for placed in lore.at(position) if _is_standing(placed))

    blocks.append(Block("system", scene.system))
    add_lore("before_char")
    add_lore("before_desc")
    blocks.append(Block("persona", expand(card.text("description"), scene.macros)))
    add_lore("after_desc")
    for name, position in (("personality", "personality"), ("scenario", "scenario")):
        text = expand(card.text(name), scene.macros)
        blocks.append(Block("persona", f"{name.capitalize()}: {text}" if text.strip() else ""))
        add_lore(position)
    add_lore("after_char")
    add_lore("examples_top")
    for i, example in enumerate(_examples(card, scene.macros)):
        blocks.append(Block("persona", f"Example:\n{example}", "examples", -i, f"example {i + 1}"))
    add_lore("examples_bottom")
    if scene.summary:
        blocks.append(Block("memory", f"So far: {scene.summary}", "summary"))
    return [block for block in blocks if block.whole]


def _lore(placed: Placed) -> Block:
    is_kept = bool(placed.entry.decorated.values.get("ignore_on_max_context"))
    return Block(
        "lore",
        placed.content,
        "lore",
        (not is_kept, placed.entry.priority, -placed.entry.index),
        placed.entry.label,
    )


def _lore_of(group: Sequence[Placed]) -> Block:
    """Entries of one place as one text, in their order; they are dropped together."""
    blocks = [_lore(placed) for placed in group]
    text, label = "\n".join(b.text for b in blocks), ", ".join(b.label for b in blocks)
    return Block("lore", text, "lore", min(block.rank for block in blocks), label)


def _is_standing(placed: Placed) -> bool:
    return placed.entry.flag("constant") or placed.position not in ("before_char", "after_char")


def _volatile(scene: Scene) -> list[Block]:
    """What was called up for this turn alone, before the player's words."""
    blocks = [
        _lore(p)
        for p in scene.lore.placed
        if p.position in ("before_char", "after_char") and not _is_standing(p)
    ]
    if scene.memories:
        blocks.append(Block("memory", "You remember: ", "memories", items=list(scene.memories)))
    if scene.note:
        blocks.append(Block("persona", scene.note))
    return blocks
