"""Lorebooks: what an entry is, and which entries a conversation calls up.

Rules of version 3 of the card format. `Lorebook.scan` is deterministic but for the time limit of regular expressions, and tells
what it left out and by which rule. It changes nothing: what must be remembered between turns is in the `LoreMemory` it returns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import regex

from understudy.errors import DocumentError
from understudy.roleplay.card import parse_json
from understudy.roleplay.decorators import Decorated, read_decorators
from understudy.roleplay.macros import MacroContext, expand

DEFAULT_SCAN_DEPTH = 2
MAX_PASSES = 10  # of recursive scanning
MAX_PATTERN = 2000  # characters of a regular expression
PATTERN_SECONDS = 0.05
SCAN_SECONDS = 0.5  # for all regular expressions of one scan
Position = Literal[
    "before_char",
    "after_char",
    "before_desc",
    "after_desc",
    "personality",
    "scenario",
    "depth",
    "instruct_depth",
]


@dataclass(frozen=True, slots=True)
class Line:
    """One message of the conversation as lorebooks see it."""

    role: Literal["user", "assistant", "system"]
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: its JSON object, its place in the book, and its content without decorators."""

    source: dict[str, Any]
    index: int
    decorated: Decorated

    def flag(self, name: str) -> bool:
        return self.source.get(name) is True

    @property
    def keys(self) -> list[str]:
        return [
            key for key in self.source.get("keys") or [] if isinstance(key, str) and key.strip()
        ]

    @property
    def secondary_keys(self) -> list[str]:
        keys = self.source.get("secondary_keys") or []
        keys = keys.split(",") if isinstance(keys, str) else keys
        return [key.strip() for key in keys if isinstance(key, str) and key.strip()]

    @property
    def insertion_order(self) -> float:
        return _as_number(self.source.get("insertion_order"), 100)

    @property
    def priority(self) -> float:
        """What goes first when the budget is short: the lowest."""
        return _as_number(self.source.get("priority"), self.insertion_order)

    @property
    def label(self) -> str:
        for name in ("name", "comment"):
            if isinstance(self.source.get(name), str) and self.source[name]:
                return str(self.source[name])
        return self.keys[0] if self.keys else f"entry {self.index}"


@dataclass(frozen=True, slots=True)
class LoreMemory:
    """What a book remembers between turns: which entries have matched before."""

    matched: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """What the conversation says about itself.

    Args:
        budget: tokens that lore may take if the book says nothing; None for no limit.
        room: tokens left in the context, which nothing may pass.
        greeting: index of the greeting that opened the conversation.
        may_use: says of an entry whether this character may know it.
    """

    count_tokens: Callable[[str], int] = lambda text: -(-len(text) // 4)
    budget: int | None = None
    room: int | None = None
    scan_depth: int = DEFAULT_SCAN_DEPTH
    greeting: int | None = None
    user_icon: str | None = None
    is_chat: bool = True
    may_use: Callable[[Entry], bool] = lambda entry: True
    macros: MacroContext = field(default_factory=MacroContext)


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry that goes into the prompt, and where. `depth` counts messages (or tokens) back from the newest."""

    content: str
    position: Position
    entry: Entry
    num_tokens: int
    depth: int = 0
    role: str = "system"


@dataclass(frozen=True, slots=True)
class Found:
    """The result of a scan, in the order of insertion; `dropped` names entries and the rule that took them out."""

    placed: tuple[Placed, ...]
    dropped: tuple[tuple[str, str], ...]
    disabled_prompts: frozenset[str]
    memory: LoreMemory
    warnings: tuple[str, ...] = ()

    def at(self, position: Position) -> list[Placed]:
        return [placed for placed in self.placed if placed.position == position]


class Lorebook:
    """A book of entries. `document` is kept whole, so that it can be written back without loss."""

    def __init__(self, document: dict[str, Any], *, is_chat: bool = True) -> None:
        entries = document.get("entries")
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise DocumentError(
                "lorebook has no entries",
                where="entries",
                expected="a list of objects",
                found=type(entries).__name__,
            )
        self.document = document
        self.entries = [
            Entry(source, i, read_decorators(str(source.get("content") or ""), is_chat=is_chat))
            for i, source in enumerate(entries)
        ]

    @classmethod
    def parse(cls, text: bytes | str, where: object = "lorebook") -> Lorebook:
        """A book on its own: `{"spec": "lorebook_v3", "data": …}`, or the bare object of a card."""
        document = parse_json(text, where)
        data = document.get("data") if document.get("spec") == "lorebook_v3" else document
        if not isinstance(data, dict):
            raise DocumentError("lorebook has no data", where=where)
        return cls(data)

    def to_document(self) -> dict[str, Any]:
        return {"spec": "lorebook_v3", "data": self.document}

    @property
    def scan_depth(self) -> int | None:
        return _whole(self.document.get("scan_depth"))

    @property
    def token_budget(self) -> int | None:
        return _whole(self.document.get("token_budget"))

    def scan(
        self,
        lines: Sequence[Line],
        settings: ScanSettings | None = None,
        memory: LoreMemory | None = None,
    ) -> Found:
        """Which entries the conversation calls up, within the budget.

        Args:
            lines: the conversation, oldest first.
            memory: what the last scan returned.
        """
        settings, memory = settings or ScanSettings(), memory or LoreMemory()
        scan = _Scan(self, lines, settings, memory)
        matched = scan.run()
        placed = [_place(entry, settings, scan.expanded(entry), lines) for entry in matched]
        placed = [item for item in placed if item.content]
        budget = self.token_budget if self.token_budget is not None else settings.budget
        kept, dropped = _fit(placed, budget, settings.room)
        kept.sort(key=lambda item: (item.entry.insertion_order, item.entry.index))
        disabled = {
            str(e.decorated.values["disable_ui_prompt"])
            for e in matched
            if "disable_ui_prompt" in e.decorated.values
        }
        return Found(
            tuple(kept),
            tuple(dropped),
            frozenset(disabled),
            LoreMemory(memory.matched | {entry.index for entry in matched}),
            tuple(scan.warnings),
        )


class _Scan:
    """One scan under way."""

    def __init__(
        self, book: Lorebook, lines: Sequence[Line], settings: ScanSettings, memory: LoreMemory
    ) -> None:
        self.book, self.settings, self.memory = book, settings, memory
        quiet = MacroContext(
            char=settings.macros.char, user=settings.macros.user, values=settings.macros.values
        )
        self.lines = [expand(line.text, quiet) for line in lines]
        self.num_replies = sum(line.role == "assistant" for line in lines)
        self.recursive = ""  # contents of entries that matched in the passes before
        self.warnings: list[str] = []
        self.deadline = time.monotonic() + SCAN_SECONDS
        self._expanded: dict[int, str] = {}

    def run(self) -> list[Entry]:
        matched: dict[int, Entry] = {}
        for _ in range(MAX_PASSES):
            new = [
                entry
                for entry in self.book.entries
                if entry.index not in matched and self._matches(entry)
            ]
            matched |= {entry.index: entry for entry in new}
            if not new or self.book.document.get("recursive_scanning") is not True:
                break
            self.recursive += "\n" + "\n".join(self._scannable(entry) for entry in new)
        return [matched[index] for index in sorted(matched)]

    def expanded(self, entry: Entry) -> str:
        """The content as it goes into the prompt, once a scan so that chance is asked once."""
        if entry.index not in self._expanded:
            self._expanded[entry.index] = expand(
                entry.decorated.content, self.settings.macros
            ).strip()
        return self._expanded[entry.index]

    def _scannable(self, entry: Entry) -> str:
        macros = self.settings.macros
        return expand(
            entry.decorated.content,
            MacroContext(macros.char, macros.user, values=macros.values, is_scan=True),
        )

    def _matches(self, entry: Entry) -> bool:
        said = entry.decorated.values
        if (
            entry.source.get("enabled") is False
            or not entry.decorated.content.strip()
            or not self.settings.may_use(entry)
        ):
            return False
        if said.get("activate"):
            return True
        was_matched = entry.index in self.memory.matched
        if said.get("dont_activate") or (said.get("dont_activate_after_match") and was_matched):
            return False
        if self._is_held_back(said):
            return False
        if said.get("keep_activate_after_match") and was_matched:
            return True
        return bool(self._keys_match(entry))

    def _is_held_back(self, said: dict[str, Any]) -> bool:
        settings = self.settings
        greeting, icon = said.get("is_greeting"), said.get("is_user_icon")
        return (
            (
                greeting is not None
                and settings.greeting is not None
                and greeting != settings.greeting
            )
            or (icon is not None and settings.user_icon is not None and icon != settings.user_icon)
            or self.num_replies < int(said.get("activate_only_after", 0))
            or bool(self.num_replies % int(said.get("activate_only_every", 1)))
        )

    def _keys_match(self, entry: Entry) -> bool:
        said, text = entry.decorated.values, self._text_for(entry)
        if entry.flag("use_regex"):
            return self._any_pattern(entry, [*entry.keys, *said.get("additional_keys", [])], text)
        is_called: bool = entry.flag("constant") or self._any_word(entry, entry.keys, text)
        if (
            is_called
            and not entry.flag("constant")
            and entry.flag("selective")
            and entry.secondary_keys
        ):
            is_called = self._any_word(entry, entry.secondary_keys, text)
        if is_called and "additional_keys" in said:
            is_called = self._any_word(entry, said["additional_keys"], text)
        return is_called and not bool(
            "exclude_keys" in said and self._any_word(entry, said["exclude_keys"], text)
        )

    def _text_for(self, entry: Entry) -> str:
        said = entry.decorated.values
        if (
            "instruct_scan_depth" in said
        ):  # tokens of a plain text: counted in words, which no tokenizer splits across
            words = "\n".join(self.lines).split(" ")
            while (
                words and self.settings.count_tokens(" ".join(words)) > said["instruct_scan_depth"]
            ):
                words = words[max(1, len(words) // 16) :]
            return " ".join(words) + self.recursive
        own = said.get("scan_depth", self.book.scan_depth)
        depth = self.settings.scan_depth if own is None else own
        recent = self.lines[-depth:] if depth > 0 else []
        return "\n".join(recent) + self.recursive

    def _any_word(self, entry: Entry, keys: Sequence[str], text: str) -> bool:
        macros = self.settings.macros
        words = [
            expand(key, MacroContext(macros.char, macros.user, values=macros.values))
            for key in keys
        ]
        if not entry.flag("case_sensitive"):
            words, text = [word.casefold() for word in words], text.casefold()
        if not (entry.source.get("extensions") or {}).get("match_whole_words"):
            return any(word in text for word in words if word)
        return any(
            regex.search(rf"(?<!\w){regex.escape(word)}(?!\w)", text) is not None
            for word in words
            if word
        )

    def _any_pattern(self, entry: Entry, patterns: Sequence[str], text: str) -> bool:
        """An invalid pattern makes the whole entry no match; one that takes too long matches nothing."""
        compiled = [_compile(pattern, entry.flag("case_sensitive")) for pattern in patterns]
        if any(pattern is None for pattern in compiled):
            self.warnings.append(f"{entry.label}: a regular expression is invalid")
            return False
        for pattern in compiled:
            left = min(PATTERN_SECONDS, self.deadline - time.monotonic())
            try:
                if left > 0 and pattern.search(text, timeout=left) is not None:
                    return True
            except TimeoutError:
                left = 0
            if left <= 0:
                self.warnings.append(
                    f"{entry.label}: a regular expression took longer than {PATTERN_SECONDS} s and was stopped"
                )
        return False


def _compile(pattern: str, is_case_sensitive: bool) -> Any:
    """A compiled pattern, None if it is invalid; `/…/flags` is understood, otherwise case follows the entry."""
    flags = 0 if is_case_sensitive else regex.IGNORECASE
    if (
        len(pattern) > 2
        and pattern[0] == "/"
        and (end := pattern.rfind("/")) > 0
        and set(pattern[end + 1 :]) <= set("gimsuy")
    ):
        letters = {"i": regex.IGNORECASE, "m": regex.MULTILINE, "s": regex.DOTALL}
        flags = sum((letters.get(letter, 0) for letter in set(pattern[end + 1 :])), 0)
        pattern = pattern[1:end]
    if len(pattern) > MAX_PATTERN or regex.search(
        r"\{\d*,?\d{4,}\}", pattern
    ):  # counted repeats are unrolled
        return None
    try:
        return regex.compile(pattern, flags)
    except (regex.error, OverflowError, RecursionError, MemoryError, ValueError):
        return None


def _place(entry: Entry, settings: ScanSettings, content: str, lines: Sequence[Line]) -> Placed:
    said = entry.decorated.values
    position: Position = (
        "after_char" if entry.source.get("position") == "after_char" else "before_char"
    )
    depth = 0
    if "position" in said:
        position = said["position"]
    elif depths := [
        name
        for name in ("depth", "reverse_depth", "instruct_depth", "reverse_instruct_depth")
        if name in said
    ]:
        position, depth = "instruct_depth" if "instruct" in depths[0] else "depth", said[depths[0]]
        if depths[0].startswith("reverse"):
            total = (
                len(lines)
                if position == "depth"
                else settings.count_tokens("\n".join(line.text for line in lines))
            )
            depth = total - depth
    return Placed(
        content,
        position,
        entry,
        settings.count_tokens(content),
        max(0, depth),
        said.get("role", "system"),
    )


def _fit(
    placed: list[Placed], budget: int | None, room: int | None
) -> tuple[list[Placed], list[tuple[str, str]]]:
    """Takes entries out until the rest fits: the lowest priority first, later entries before earlier ones."""
    kept, dropped = list(placed), []

    def take_out(items: list[Placed], rule: str) -> None:
        worst = min(items, key=lambda item: (item.entry.priority, -item.entry.index))
        kept.remove(worst)
        dropped.append((worst.entry.label, rule))

    for limit, rule in ((budget, "token budget of the lorebook"), (room, "context is full")):
        if limit is None:
            continue
        while too_big := [item for item in kept if item.num_tokens > limit]:
            take_out(too_big, rule)
        while sum(item.num_tokens for item in kept) > limit:
            first = (
                [item for item in kept if item.entry.decorated.values.get("ignore_on_max_context")]
                if rule == "context is full"
                else []
            )
            take_out(first or kept, rule)
    return kept, dropped


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _whole(value: object) -> int | None:
    return int(value) if _is_number(value) else None  # type: ignore[call-overload]


def _as_number(value: object, default: float) -> float:
    return float(value) if _is_number(value) else default  # type: ignore[arg-type]
