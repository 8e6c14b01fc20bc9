"""Lorebooks: reading one, and asking one or several which entries a conversation calls up.

book = Lorebook.parse(Path("world.json").read_bytes()); book.scan([Line("user", "A wolf!")]).placed

A book is searched by the rules of the program that made it (`book.rules`): SillyTavern's, or those
of version 3 of the card format. A scan is deterministic but for the time limit of regular
expressions, and tells what it left out and by which rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from understudy.errors import DocumentError, UsageError
from understudy.roleplay.card_mending import mended_book
from understudy.roleplay.decorators import read_decorators
from understudy.roleplay.lore import (
    DEFAULT_SCAN_DEPTH,
    Found,
    Line,
    LoreEntry,
    LoreMemory,
    Placed,
    Rules,
    ScanSettings,
    TimedEffect,
    WorldInfoSettings,
    whole,
)
from understudy.roleplay.lore_formats import ReadBook, origin_of, read_book
from understudy.roleplay.lore_notes import book_warnings
from understudy.roleplay.lore_sillytavern import WorldScan
from understudy.roleplay.lore_v3 import scan_v3
from understudy.roleplay.world_entry import (
    WorldEntry,
    key_order,
    read_known_decorators,
    world_entry,
)

__all__ = [
    "DEFAULT_SCAN_DEPTH",
    "Found",
    "Line",
    "LoreEntry",
    "LoreMemory",
    "Lorebook",
    "Placed",
    "Rules",
    "ScanSettings",
    "WorldInfoSettings",
    "scan_books",
]


class Lorebook:
    """A book of entries.

    Args:
        document: the book as a card holds it; kept whole, so that it can be written back without
            loss.
        is_chat: of a chat or world of its own, not of a card.
        rules: whose rules it is searched by; None: as its origin says.
        origin: the program that it comes from; None: as its fields say.
        notes: what was said when it was read; they stand first among its warnings.

    Raises:
        DocumentError: `entries` are no list of objects.
        UsageError: unknown rules.
    """

    def __init__(
        self,
        document: dict[str, Any],
        *,
        is_chat: bool = True,
        rules: Rules | None = None,
        origin: str | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        book, mends = mended_book(document)
        entries = [] if book.get("entries") is None else book["entries"]
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DocumentError(
                "lorebook has no entries",
                where="entries",
                expected="a list of objects",
                found=type(entries).__name__,
            )
        if rules not in (None, "sillytavern", "v3"):
            raise UsageError(
                "unknown rules of lorebooks",
                where="rules",
                expected="sillytavern or v3",
                found=rules,
            )
        self.document = document
        self.origin = origin or origin_of(entries)
        self.rules: Rules = rules or ("sillytavern" if self.origin in _SILLYTAVERN_LIKE else "v3")
        self.entries = [
            LoreEntry(source, i, self._read_content(str(source.get("content") or ""), is_chat))
            for i, source in enumerate(entries)
        ]
        self.warnings = (*notes, *mends, *book_warnings(self))

    def _read_content(self, content: str, is_chat: bool) -> Any:
        if self.rules == "sillytavern":
            return read_known_decorators(content)
        return read_decorators(content, is_chat=is_chat)

    @classmethod
    def parse(
        cls, text: bytes | str, where: object = "lorebook", *, rules: Rules | None = None
    ) -> Lorebook:
        """A book on its own: of the card format, a card's, or SillyTavern's, NovelAI's, Agnai's or
        Risu's.

        Args:
            text: the file's content, JSON.
            where: the file's name, for messages.
            rules: by which entries are called up; None: those of the program that made the book.

        Raises:
            DocumentError: none of these, or damaged.
        """
        read: ReadBook = read_book(text, where)
        return cls(read.document, rules=rules, origin=read.origin, notes=read.notes)

    def to_document(self) -> dict[str, Any]:
        """The book as the card format has one on its own."""
        return {"spec": "lorebook_v3", "data": self.document}

    def __str__(self) -> str:
        whose = {"sillytavern": "SillyTavern's rules", "v3": "the rules of version 3"}[self.rules]
        return f"{len(self.entries)} entries, {whose} ({self.origin})"

    @property
    def scan_depth(self) -> int | None:
        """Messages that are searched, where the book says it."""
        return whole(self.document.get("scan_depth"))

    @property
    def token_budget(self) -> int | None:
        """Most tokens of its entries in a prompt, where the book says it."""
        return whole(self.document.get("token_budget"))

    def scan(
        self,
        lines: Sequence[Line],
        settings: ScanSettings | None = None,
        memory: LoreMemory | None = None,
    ) -> Found:
        """Which entries the conversation calls up, within the budget.

        Args:
            lines: the conversation, oldest first.
            settings: names, counting of tokens, and limits of the scan.
            memory: what the last scan returned.
        """
        settings, memory = settings or ScanSettings(), memory or LoreMemory()
        return scan_books([self], lines, settings, [memory])[0]


_SILLYTAVERN_LIKE = ("SillyTavern", "SillyTavern World Info", "NovelAI", "Agnai")


def scan_books(
    books: Sequence[Lorebook],
    lines: Sequence[Line],
    settings: ScanSettings,
    memories: Sequence[LoreMemory],
) -> list[Found]:
    """What each of several books gives. Those under SillyTavern's rules are searched as one, with
    one budget, the first of them (the card's own) before the others.
    """
    found = {
        i: scan_v3(book, lines, settings, memory)
        for i, (book, memory) in enumerate(zip(books, memories, strict=True))
        if book.rules == "v3"
    }
    together = [i for i, book in enumerate(books) if book.rules == "sillytavern"]
    if together:
        found |= _scan_together(books, together, lines, settings, memories)
    return [
        replace(found[i], warnings=(*book.warnings, *found[i].warnings))
        for i, book in enumerate(books)
    ]


def _scan_together(
    books: Sequence[Lorebook],
    numbers: Sequence[int],
    lines: Sequence[Line],
    settings: ScanSettings,
    memories: Sequence[LoreMemory],
) -> dict[int, Found]:
    entries = [_sorted(books[i], i) for i in numbers]
    others = [entry for more in entries[1:] for entry in more]
    ordered = [*_by_order(entries[0]), *_by_order(others)]
    at = {(entry.book, entry.entry.index): entry for entry in ordered}

    def remembered(name: str) -> dict[WorldEntry, TimedEffect]:
        effects = ((i, effect) for i in numbers for effect in getattr(memories[i], name))
        return {at[i, e.entry]: e for i, e in effects if (i, e.entry) in at}

    result = WorldScan(ordered, lines, settings, remembered("sticky"), remembered("cooldown")).run()
    first = numbers[0]
    return {
        i: Found(
            tuple(placed for _, placed in result.placed) if i == first else (),
            tuple(result.dropped) if i == first else (),
            frozenset(),
            LoreMemory(
                memories[i].matched | {e.entry.index for e in result.active if e.book == i},
                tuple(effect for e, effect in result.sticky.items() if e.book == i),
                tuple(effect for e, effect in result.cooldown.items() if e.book == i),
            ),
            tuple(result.warnings) if i == first else (),
        )
        for i in numbers
    }


def _sorted(book: Lorebook, number: int) -> list[WorldEntry]:
    """In the order in which SillyTavern walks its object of entries: by their ids."""
    by_id: dict[str, list[LoreEntry]] = {}
    for entry in book.entries:
        id = entry.source.get("id", entry.index)
        by_id.setdefault(str(id) if isinstance(id, (int, str)) else f" {entry.index}", []).append(
            entry
        )
    return [world_entry(entry, number) for id in key_order(by_id) for entry in by_id[id]]


def _by_order(entries: Sequence[WorldEntry]) -> list[WorldEntry]:
    return sorted(entries, key=lambda entry: -entry.order)
