"""What of a lorebook is not used under the rules that it is searched by, in words: nothing is
passed over in silence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from understudy.roleplay.lore import Book, LoreEntry
from understudy.roleplay.pattern_characters import UntranslatableError
from understudy.roleplay.patterns import read_pattern
from understudy.roleplay.world_entry import (
    EXTENSIONS,
    NUMBERS,
    filter_of,
    number_of,
    position_of,
)

_SPEC_OF_BOOK = ("scan_depth", "token_budget", "recursive_scanning")
_SPEC_OF_ENTRY = ("case_sensitive", "priority")
_MEANINGLESS = ("display_index",)
_V3_READS = ("match_whole_words",)


def book_warnings(book: Book) -> list[str]:
    """One line for each thing, with the name of its entry."""
    of_entry = _sillytavern if book.rules == "sillytavern" else _v3
    found = [f"{entry.label}: {note}" for entry in book.entries for note in of_entry(entry)]
    if book.rules == "sillytavern":
        ignored = [name for name in _SPEC_OF_BOOK if book.document.get(name) is not None]
        if ignored:
            found.insert(0, f"the book's {', '.join(ignored)} is not read by SillyTavern's rules")
    return found


def _sillytavern(entry: LoreEntry) -> Iterator[str]:
    more = entry.extensions
    if "enabled" not in entry.source:
        yield "it has no `enabled`, and so is off by SillyTavern's rules"
    if more.get("vectorized"):
        yield "vectorized is not used here: only its keys call it up"
    if more.get("automation_id"):
        yield "automation_id is not used here: no script runs"
    if filter_of(entry).get("tags"):
        yield "characterFilter names tags by the ids of one installation, and is not used here"
    if position_of(entry) is None:
        yield "its position is none of SillyTavern's 0 to 7, or an unnamed outlet; not placed"
    for name in NUMBERS:
        if math.isnan(number_of(more.get(name, 0) or 0, math.nan)):
            yield f"{name} is no number; its default is taken"
    ignored = [name for name in _SPEC_OF_ENTRY if entry.source.get(name) is not None]
    if ignored:
        yield f"its {', '.join(ignored)} is not read by SillyTavern's rules"
    for line in entry.decorated.ignored:
        yield f"the decorator {line} is not read by SillyTavern's rules"
    for key in [*entry.keys, *entry.secondary_keys]:
        try:
            read_pattern(key.strip())
        except UntranslatableError as error:
            yield f"the key {key} cannot be used here: {error}"


def _v3(entry: LoreEntry) -> Iterator[str]:
    ignored = [
        name
        for name in sorted(EXTENSIONS.intersection(entry.extensions))
        if name not in (*_MEANINGLESS, *_V3_READS) and entry.extensions[name]
    ]
    if ignored:
        yield f"{', '.join(ignored)} of its extensions is not read by the rules of version 3"
    for line in entry.decorated.ignored:
        yield f"the decorator {line} is not known, or has no such value"
