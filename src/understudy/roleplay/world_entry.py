"""A lorebook entry as SillyTavern understands it: the fields of the card format and what it keeps
in `extensions`.

Version 1.19.0, `convertCharacterBook` in `public/scripts/world-info.js`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from understudy.roleplay.decorators import Decorated
from understudy.roleplay.javascript import to_number
from understudy.roleplay.lore import DEFAULT_SCAN_DEPTH, LoreEntry, Position, as_number, whole

POSITIONS: tuple[Position, ...] = (
    "before_char",
    "after_char",
    "note_top",
    "note_bottom",
    "depth",
    "examples_top",
    "examples_bottom",
    "outlet",
)
ROLES = ("system", "user", "assistant")
DEFAULT_DEPTH = 4
DEFAULT_WEIGHT = 100
MATCHED = {
    "persona": "match_persona_description",
    "description": "match_character_description",
    "personality": "match_character_personality",
    "depth_prompt": "match_character_depth_prompt",
    "scenario": "match_scenario",
    "creator_notes": "match_creator_notes",
}
NUMBERS = (
    *("depth", "role", "selectiveLogic", "probability", "group_weight", "position"),
    *("sticky", "cooldown", "delay", "scan_depth"),
)
EXTENSIONS = frozenset(
    {
        *MATCHED.values(),
        *("position", "depth", "role", "selectiveLogic", "probability", "useProbability"),
        *("group", "group_override", "group_weight", "use_group_scoring", "outlet_name"),
        *("sticky", "cooldown", "delay", "scan_depth", "match_whole_words", "case_sensitive"),
        *("exclude_recursion", "prevent_recursion", "delay_until_recursion", "ignore_budget"),
        *("triggers", "automation_id", "vectorized", "display_index", "character_filter"),
    }
)
"""What SillyTavern writes into an entry's `extensions`; one of them says that a book is of its
making.

(`character_filter` is its `characterFilter`, which has no place in a card and gets this one when a
World Info file is read.)
"""


@dataclass(eq=False, slots=True)
class WorldEntry:
    """One entry; two are equal only if they are the same one."""

    entry: LoreEntry
    book: int
    keys: list[str]
    secondary_keys: list[str]
    content: str
    decorator: bool | None  # True: `@@activate`; False: `@@dont_activate`
    is_enabled: bool
    constant: bool
    selective: bool
    logic: int
    order: float
    position: Position | None  # None: a number that SillyTavern does not know; it goes nowhere
    depth: int
    role: str
    outlet: str
    probability: float
    use_probability: bool
    group: str
    group_override: bool
    group_weight: float
    use_group_scoring: bool | None
    sticky: int
    cooldown: int
    delay: int
    scan_depth: int | None
    case_sensitive: bool | None
    whole_words: bool | None
    exclude_recursion: bool
    prevent_recursion: bool
    delay_level: int  # of recursion; 0: none is waited for
    ignores_budget: bool
    triggers: list[str]
    sources: frozenset[str]
    character_names: tuple[list[str], bool]  # whom it is for, or not for

    @property
    def label(self) -> str:
        return self.entry.label

    def is_for(self, character: str) -> bool:
        names, is_exclude = self.character_names
        return not names or (character in names) != is_exclude


def world_entry(entry: LoreEntry, book: int) -> WorldEntry:
    source, more = entry.source, entry.extensions
    chosen = filter_of(entry)
    delayed = more.get("delay_until_recursion")
    return WorldEntry(
        entry,
        book,
        _strings(source.get("keys")),
        _strings(source.get("secondary_keys")) or entry.secondary_keys,
        entry.decorated.content,
        decorator_of(entry.decorated),
        bool(source.get("enabled")),
        bool(source.get("constant")),
        bool(source.get("selective")),
        int(number_of(more.get("selectiveLogic"), 0)),
        as_number(source.get("insertion_order"), 100),
        position_of(entry),
        max(0, int(number_of(more.get("depth"), DEFAULT_DEPTH))),
        role_of(more.get("role")),
        str(more.get("outlet_name") or ""),
        number_of(more.get("probability"), 100),
        bool(_or(more.get("useProbability"), True)),
        str(more.get("group") or ""),
        bool(more.get("group_override")),
        number_of(more.get("group_weight"), DEFAULT_WEIGHT),
        _flag(more.get("use_group_scoring")),
        int(number_of(more.get("sticky"), 0)),
        int(number_of(more.get("cooldown"), 0)),
        int(number_of(more.get("delay"), 0)),
        _depth(more.get("scan_depth")),
        _flag(more.get("case_sensitive")),
        _flag(more.get("match_whole_words")),
        bool(more.get("exclude_recursion")),
        bool(more.get("prevent_recursion")),
        1 if delayed is True else int(number_of(delayed, 0)),
        bool(more.get("ignore_budget")),
        _strings(more.get("triggers")),
        frozenset(name for name, flag in MATCHED.items() if more.get(flag)),
        (_strings(chosen.get("names")), bool(chosen.get("isExclude"))),
    )


def number_of(value: object, default: float) -> float:
    """A number, also one that is written as text; the default for anything else."""
    number = to_number(value) if isinstance(value, str) and value else value
    return as_number(number, default) if number == number else default


def filter_of(entry: LoreEntry) -> dict[str, Any]:
    """Whom the entry is for: `{"names": [], "tags": [], "isExclude": false}`."""
    given = entry.extensions.get("character_filter")
    return given if isinstance(given, dict) else {}


def position_of(entry: LoreEntry) -> Position | None:
    given = entry.extensions.get("position")
    if (number := whole(given)) is None:
        return "before_char" if entry.source.get("position") == "before_char" else "after_char"
    place = POSITIONS[number] if number in range(len(POSITIONS)) else None
    return None if place == "outlet" and not entry.extensions.get("outlet_name") else place


def role_of(value: object) -> str:
    return ROLES[value] if isinstance(value, int) and value in range(len(ROLES)) else "system"


def read_known_decorators(content: str) -> Decorated:
    """Takes the lines `@@…` off the top as SillyTavern does: it follows `@@activate` and
    `@@dont_activate` alone.
    """
    lines = content.split("\n")
    number = next((i for i, line in enumerate(lines) if not line.startswith("@@")), None)
    if not number:  # nothing but decorators stays as it is
        number = 0
    known: list[str] = []
    ignored: list[str] = []
    wants_fallback = False
    for line in lines[:number] if number else lines if content.startswith("@@") else []:
        if line.startswith("@@@") and not wants_fallback:
            continue
        name = line.removeprefix("@") if line.startswith("@@@") else line
        wants_fallback = not name.startswith(("@@activate", "@@dont_activate"))
        (ignored if name not in ("@@activate", "@@dont_activate") else known).append(name)
    values = {name.removeprefix("@@"): True for name in known}
    return Decorated("\n".join(lines[number:]), values, tuple(ignored))


def decorator_of(decorated: Decorated) -> bool | None:
    if "activate" in decorated.values:
        return True
    return False if "dont_activate" in decorated.values else None


def key_order(keys: Iterable[str]) -> list[str]:
    """Keys of a JavaScript object in its order: whole numbers first, by size, then the rest as they
    came.
    """
    numbers: list[str] = []
    words: list[str] = []
    for key in keys:
        is_index = key.isascii() and key.isdigit() and (key == "0" or key[0] != "0")
        (numbers if is_index and int(key) < 2**32 - 1 else words).append(key)
    return sorted(numbers, key=int) + words


def _strings(value: object) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _depth(value: object) -> int | None:
    return None if value is None else int(number_of(value, DEFAULT_SCAN_DEPTH))


def _flag(value: object) -> bool | None:
    return None if value is None else bool(value)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
