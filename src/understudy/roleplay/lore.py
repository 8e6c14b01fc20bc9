"""The nouns of lorebooks: what an entry is, what a scan is told, what it finds, and what is
remembered between turns.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from understudy.roleplay.decorators import Decorated
from understudy.roleplay.macro_context import MacroContext

DEFAULT_SCAN_DEPTH = 2
Rules = Literal["sillytavern", "v3"]
Position = Literal[
    "before_char",
    "after_char",
    "before_desc",
    "after_desc",
    "personality",
    "scenario",
    "depth",
    "instruct_depth",
    "note_top",
    "note_bottom",
    "examples_top",
    "examples_bottom",
    "outlet",
]


@dataclass(frozen=True, slots=True)
class Line:
    """One message of the conversation as lorebooks see it. `name` is the speaker's, where it is not
    the role's.
    """

    role: Literal["user", "assistant", "system"]
    text: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class LoreEntry:
    """One entry: its JSON object, its place in the book, and its content without decorators."""

    source: dict[str, Any]
    index: int
    decorated: Decorated

    def flag(self, name: str) -> bool:
        return self.source.get(name) is True

    @property
    def extensions(self) -> dict[str, Any]:
        given = self.source.get("extensions")
        return given if isinstance(given, dict) else {}

    @property
    def keys(self) -> list[str]:
        return [
            key for key in self.source.get("keys") or [] if isinstance(key, str) and key.strip()
        ]

    @property
    def secondary_keys(self) -> list[str]:
        given = self.source.get("secondary_keys")
        keys = given.split(",") if isinstance(given, str) else given
        keys = keys if isinstance(keys, list) else []
        return [key.strip() for key in keys if isinstance(key, str) and key.strip()]

    @property
    def insertion_order(self) -> float:
        return as_number(self.source.get("insertion_order"), 100)

    @property
    def priority(self) -> float:
        """What goes first when the budget is short: the lowest."""
        return as_number(self.source.get("priority"), self.insertion_order)

    @property
    def label(self) -> str:
        for name in ("name", "comment"):
            if isinstance(self.source.get(name), str) and self.source[name]:
                return str(self.source[name])
        return self.keys[0] if self.keys else f"entry {self.index}"


class Book(Protocol):
    """What a scan has to know of a `Lorebook`."""

    document: dict[str, Any]
    entries: list[LoreEntry]
    rules: Rules

    @property
    def scan_depth(self) -> int | None: ...

    @property
    def token_budget(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class TimedEffect:
    """How long an entry of SillyTavern's making stays (`sticky`) or rests (`cooldown`), counted in
    messages.
    """

    entry: int
    start: int
    end: int
    is_protected: bool = False  # holds although the conversation has not gone on


@dataclass(frozen=True, slots=True)
class LoreMemory:
    """What a book remembers between turns: which entries have matched before, and which stay or
    rest.
    """

    matched: frozenset[int] = frozenset()
    sticky: tuple[TimedEffect, ...] = ()
    cooldown: tuple[TimedEffect, ...] = ()

    def to_document(self) -> dict[str, Any]:
        effects = {
            name: [[e.entry, e.start, e.end, e.is_protected] for e in getattr(self, name)]
            for name in ("sticky", "cooldown")
        }
        return {"matched": sorted(self.matched), **effects}

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> LoreMemory:
        sticky, cooldown = (
            tuple(
                TimedEffect(int(i), int(start), int(end), bool(held))
                for i, start, end, held in document[name]
            )
            for name in ("sticky", "cooldown")
        )
        return cls(frozenset(document["matched"]), sticky, cooldown)


@dataclass(frozen=True, slots=True)
class WorldInfoSettings:
    """What SillyTavern's user sets for all books; the values of a fresh installation of 1.19.0."""

    scan_depth: int = DEFAULT_SCAN_DEPTH
    include_names: bool = True
    recursive: bool = True
    case_sensitive: bool = False
    match_whole_words: bool = True
    use_group_scoring: bool = False
    min_activations: int = 0
    min_activations_depth: int = (
        0  # how far the search for them goes back at most; 0: the whole chat
    )
    max_recursion_steps: int = 0


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What the conversation says about itself.

    Args:
        budget: tokens that lore may take if the book says nothing; None for no limit.
        room: tokens left in the context, which nothing may pass.
        greeting: index of the greeting that opened the conversation.
        may_use: says of an entry whether this character may know it.
        trigger: why the prompt is made, in SillyTavern's words: normal, continue, impersonate,
            swipe, regenerate or quiet.
        sources: further texts that an entry may ask to be searched: persona, description,
            personality, depth_prompt, scenario, creator_notes.
        num_messages: of the whole conversation, where `lines` hold only the end of it.
        draw: the next number of chance, from 0 to below 1; None: from the seed and turn of
            `macros`.
    """

    count_tokens: Callable[[str], int] = lambda text: -(-len(text) // 4)
    budget: int | None = None
    room: int | None = None
    scan_depth: int = DEFAULT_SCAN_DEPTH
    greeting: int | None = None
    user_icon: str | None = None
    is_chat: bool = True
    may_use: Callable[[LoreEntry], bool] = lambda entry: True
    macros: MacroContext = field(default_factory=MacroContext)
    trigger: str = "normal"
    sources: Mapping[str, str] = field(default_factory=dict)
    num_messages: int | None = None
    draw: Callable[[], float] | None = None
    world: WorldInfoSettings = field(default_factory=WorldInfoSettings)

    def chance(self) -> Callable[[], float]:
        """Where the numbers of chance come from."""
        return (
            self.draw or random.Random(self.macros.chance("lore", self.macros.turn).random()).random
        )


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry that goes into the prompt, and where. `depth` counts messages (or tokens) back from
    the newest.
    """

    content: str
    position: Position
    entry: LoreEntry
    num_tokens: int
    depth: int = 0
    role: str = "system"
    outlet: str = ""  # the name under which `{{outlet::name}}` gives it


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a scan, in the order of insertion; `dropped` names entries and the rule that
    took them out.
    """

    placed: tuple[Placed, ...]
    dropped: tuple[tuple[str, str], ...]
    disabled_prompts: frozenset[str]
    memory: LoreMemory
    warnings: tuple[str, ...] = ()

    def at(self, position: Position) -> list[Placed]:
        return [placed for placed in self.placed if placed.position == position]

    @property
    def outlets(self) -> dict[str, str]:
        """What `{{outlet::name}}` stands for."""
        found: dict[str, list[str]] = {}
        for placed in self.at("outlet"):
            found.setdefault(placed.outlet, []).append(placed.content)
        return {name: "\n".join(contents) for name, contents in found.items()}


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def whole(value: object) -> int | None:
    return int(value) if is_number(value) else None  # type: ignore[call-overload]


def as_number(value: object, default: float) -> float:
    return float(value) if is_number(value) else default  # type: ignore[arg-type]
