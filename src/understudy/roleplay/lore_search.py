"""The texts that SillyTavern's lorebooks are searched in, and how a key is looked for (1.19.0,
`WorldInfoBuffer`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from understudy.roleplay.javascript import split_words, trim
from understudy.roleplay.lore import Line, ScanSettings
from understudy.roleplay.pattern_characters import UntranslatableError
from understudy.roleplay.patterns import PATTERN_SECONDS, Pattern, PatternTime, read_pattern
from understudy.roleplay.world_entry import WorldEntry

MAX_SCAN_DEPTH = 1000
START = "\x01"  # before each text that is searched, so that a pattern can tell where one begins
SOURCES = ("persona", "description", "personality", "depth_prompt", "scenario", "creator_notes")
AND_ANY, NOT_ALL, NOT_ANY, AND_ALL = range(4)  # `selectiveLogic`
_WORD = re.compile(r"[A-Za-z0-9_]")
FIRST, RECURSION, MORE_MESSAGES = "first", "recursion", "more messages"  # why a pass is made


class Searched:
    """The texts that keys are looked for in, and the looking."""

    def __init__(self, lines: Sequence[Line], settings: ScanSettings) -> None:
        self.settings, self.world = settings, settings.world
        macros = settings.macros
        names = {"user": macros.user, "assistant": macros.char, "system": "System"}
        texts = [
            f"{line.name or names[line.role]}: {line.text}"
            if self.world.include_names
            else line.text
            for line in reversed(lines)
        ][:MAX_SCAN_DEPTH]
        while texts and not texts[-1]:
            texts.pop()
        self.messages = [trim(text) for text in texts]
        self.recursed: list[str] = []
        self.skew = 0  # messages beyond the usual depth, while `min_activations` are looked for
        self._texts: dict[tuple[object, ...], str] = {}
        self._lowered = ("", "")  # the text that was looked into last, and its lower case
        self.warnings: list[str] = []
        self._pattern_time = PatternTime()

    @property
    def depth(self) -> int:
        return self.world.scan_depth + self.skew

    def text_for(self, entry: WorldEntry, state: str) -> str:
        depth = self.depth if entry.scan_depth is None else entry.scan_depth
        if depth <= 0:
            return ""
        key = (depth, entry.sources, state == MORE_MESSAGES, len(self.recursed))
        if key not in self._texts:
            self._texts[key] = self._joined(depth, entry.sources, state)
        return self._texts[key]

    def _joined(self, depth: int, sources: frozenset[str], state: str) -> str:
        join = "\n" + START
        text = START + join.join(self.messages[: min(depth, MAX_SCAN_DEPTH)])
        for name in SOURCES:
            if name in sources and self.settings.sources.get(name):
                text += join + self.settings.sources[name]
        if self.recursed and state != MORE_MESSAGES:
            text += join + join.join(self.recursed)
        return text

    def holds(self, text: str, key: str, entry: WorldEntry) -> bool:
        """Whether a key, with its macros replaced and its blanks cut off, stands in a text."""
        try:
            pattern = read_pattern(key) if key.startswith("/") else None
        except UntranslatableError as error:
            self.warnings.append(f"{entry.label}: the key {key} cannot be used here: {error}")
            return False
        if pattern is not None:
            return self._finds(pattern, text, key, entry)
        is_exact = (
            self.world.case_sensitive if entry.case_sensitive is None else entry.case_sensitive
        )
        if not is_exact:
            if self._lowered[0] is not text:
                self._lowered = (text, text.lower())
            text, key = self._lowered[1], key.lower()
        by_words = self.world.match_whole_words if entry.whole_words is None else entry.whole_words
        if not by_words or len(split_words(key)) > 1:
            return key in text
        return _stands_alone(key, text)

    def _finds(self, pattern: Pattern, text: str, key: str, entry: WorldEntry) -> bool:
        try:
            return self._pattern_time.finds(pattern, text)
        except TimeoutError:
            pass
        self.warnings.append(
            f"{entry.label}: the pattern {key} took longer than {PATTERN_SECONDS} s and was stopped"
        )
        return False

    def score(self, entry: WorldEntry, state: str) -> int:
        """How many keys of an entry are there, for groups that are decided by that."""
        text = self.text_for(entry, state)
        first = sum(self.holds(text, key, entry) for key in entry.keys)
        second = sum(self.holds(text, key, entry) for key in entry.secondary_keys)
        if not entry.keys or not entry.secondary_keys:
            return first
        if entry.logic == AND_ANY or (
            entry.logic == AND_ALL and second == len(entry.secondary_keys)
        ):
            return first + second
        return first


def _stands_alone(key: str, text: str) -> bool:
    """Whether no ASCII letter, digit or `_` touches the key; in Chinese and Japanese none does."""
    at = text.find(key)
    while at >= 0:
        if not (_WORD.match(text[at - 1 : at]) or _WORD.match(text, at + len(key))):
            return True
        at = text.find(key, at + 1)
    return False
