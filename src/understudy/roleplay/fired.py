"""Which entries of lorebooks went into a prompt, and why: what a player or an author is shown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from understudy.roleplay.lore import Line, LoreEntry, Placed

_SHOWN_KEYS = 3


@dataclass(frozen=True, slots=True)
class FiredEntry:
    """An entry by the name that its author gave it, and what called it up: `constant`, the words
    that were found, `called up by NAME`, or `stays` for one that no word of now explains (a timed
    effect, a decorator, a pattern).
    """

    name: str
    why: str


def fired_entries(placed: Iterable[Placed], lines: Sequence[Line]) -> tuple[FiredEntry, ...]:
    """The entries of a scan in the order of the prompt; `lines` are what was scanned."""
    found = list(placed)
    said = "\n".join(line.text for line in lines).casefold()
    return tuple(FiredEntry(name_of(one.entry), _why(one, found, said)) for one in found)


def name_of(entry: LoreEntry) -> str:
    """Its comment or name, else its first key, else its place in the book."""
    for key in ("comment", "name"):
        if isinstance(given := entry.source.get(key), str) and given.strip():
            return given.strip()
    return entry.keys[0] if entry.keys else f"entry {entry.index + 1}"


def _why(placed: Placed, all_placed: Sequence[Placed], said: str) -> str:
    entry = placed.entry
    if entry.flag("constant"):
        return "constant"
    words = [key for key in entry.keys if key.casefold() in said]
    if words:
        return ", ".join(words[:_SHOWN_KEYS])
    for other in all_placed:
        content = other.content.casefold()
        if other is not placed and any(key.casefold() in content for key in entry.keys):
            return f"called up by {name_of(other.entry)}"
    return "stays"
