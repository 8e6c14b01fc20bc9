"""Which entries a conversation calls up by the rules of version 3 of the card format.

Deterministic but for the time limit of regular expressions. It changes nothing: what must be
remembered between turns is in the `LoreMemory` that comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import regex

from understudy.roleplay.lore import (
    Book,
    Found,
    Line,
    LoreEntry,
    LoreMemory,
    Placed,
    Position,
    ScanSettings,
)
from understudy.roleplay.macros import MacroContext, expand
from understudy.roleplay.pattern_characters import UntranslatableError
from understudy.roleplay.patterns import PATTERN_SECONDS, Pattern, PatternTime, compile_pattern

MAX_PASSES = 10  # of recursive scanning
_DELIMITED = regex.compile(r"/(.+)/([gimsuy]*)", regex.DOTALL)
_UNSPACED = regex.compile(
    r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々〆]"
)


def scan_v3(book: Book, lines: Sequence[Line], settings: ScanSettings, memory: LoreMemory) -> Found:
    """One book against a conversation, oldest message first."""
    scan = _Scan(book, lines, settings, memory)
    matched = scan.run()
    placed = [_place(entry, settings, scan.expanded(entry), lines) for entry in matched]
    placed = [item for item in placed if item.content]
    budget = book.token_budget if book.token_budget is not None else settings.budget
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
        self, book: Book, lines: Sequence[Line], settings: ScanSettings, memory: LoreMemory
    ) -> None:
        self.book, self.settings, self.memory = book, settings, memory
        quiet = MacroContext(
            char=settings.macros.char, user=settings.macros.user, values=settings.macros.values
        )
        self.lines = [expand(line.text, quiet) for line in lines]
        self.num_replies = sum(line.role == "assistant" for line in lines)
        self.recursive = ""  # contents of entries that matched in the passes before
        self.warnings: list[str] = []
        self._pattern_time = PatternTime()
        self._expanded: dict[int, str] = {}

    def run(self) -> list[LoreEntry]:
        matched: dict[int, LoreEntry] = {}
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

    def expanded(self, entry: LoreEntry) -> str:
        """The content as it goes into the prompt, once a scan so that chance is asked once."""
        if entry.index not in self._expanded:
            self._expanded[entry.index] = expand(
                entry.decorated.content, self.settings.macros
            ).strip()
        return self._expanded[entry.index]

    def _scannable(self, entry: LoreEntry) -> str:
        macros = self.settings.macros
        return expand(
            entry.decorated.content,
            MacroContext(macros.char, macros.user, values=macros.values, is_scan=True),
        )

    def _matches(self, entry: LoreEntry) -> bool:
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

    def _keys_match(self, entry: LoreEntry) -> bool:
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

    def _text_for(self, entry: LoreEntry) -> str:
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

    def _any_word(self, entry: LoreEntry, keys: Sequence[str], text: str) -> bool:
        macros = self.settings.macros
        words = [
            expand(key, MacroContext(macros.char, macros.user, values=macros.values)).strip()
            for key in keys
        ]
        if not entry.flag("case_sensitive"):
            words, text = [word.casefold() for word in words], text.casefold()
        if not entry.extensions.get("match_whole_words"):
            return any(word in text for word in words if word)
        return any(regex.search(_as_word(word), text) is not None for word in words if word)

    def _any_pattern(self, entry: LoreEntry, keys: Sequence[str], text: str) -> bool:
        """An invalid pattern makes the whole entry no match; one that takes too long matches
        nothing.
        """
        try:
            patterns = [_compile(key, entry.flag("case_sensitive")) for key in keys]
        except UntranslatableError as error:
            self.warnings.append(
                f"{entry.label}: a regular expression cannot be used here: {error}"
            )
            return False
        for pattern in patterns:
            if pattern is None:
                self.warnings.append(f"{entry.label}: a regular expression is invalid")
                return False
        return any(self._finds(entry, pattern, text) for pattern in patterns if pattern is not None)

    def _finds(self, entry: LoreEntry, pattern: Pattern, text: str) -> bool:
        try:
            return self._pattern_time.finds(pattern, text)
        except TimeoutError:
            pass
        self.warnings.append(
            f"{entry.label}: a regular expression took over {PATTERN_SECONDS} s and was stopped"
        )
        return False


def _compile(key: str, is_case_sensitive: bool) -> Pattern | None:
    """A pattern of JavaScript's; `/…/flags` is understood, otherwise case follows the entry."""
    if match := _DELIMITED.fullmatch(key):
        return compile_pattern(match[1], match[2])
    return compile_pattern(key, "" if is_case_sensitive else "i")


def _as_word(word: str) -> str:
    """Scripts that are written without blanks between words have no edges of words to ask for."""
    before = "" if _UNSPACED.match(word[0]) else rf"(?<![\w--{_UNSPACED.pattern}])"
    after = "" if _UNSPACED.match(word[-1]) else rf"(?![\w--{_UNSPACED.pattern}])"
    return f"(?V1){before}{regex.escape(word)}{after}"


def _place(entry: LoreEntry, settings: ScanSettings, content: str, lines: Sequence[Line]) -> Placed:
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
    """Takes entries out until the rest fits: the lowest priority first, later entries before
    earlier ones.
    """
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
