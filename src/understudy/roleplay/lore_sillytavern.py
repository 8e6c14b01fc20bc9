"""Which entries a conversation calls up by SillyTavern's rules (1.19.0, `public/scripts/world-info.js`).

Several books are searched as one. The rules: the newest message is read first and begins with its speaker's name; who is
called up may call up others (recursion); of a group one is drawn; chance, the budget and timed effects decide who goes in.
Chance is drawn in SillyTavern's order, so that the same numbers give the same entries.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import regex

from understudy.roleplay.javascript import split_words, trim
from understudy.roleplay.lore import Line, Placed, ScanSettings, TimedEffect
from understudy.roleplay.lore_groups import keep_one_of_each_group
from understudy.roleplay.macros import expand
from understudy.roleplay.pattern_characters import UntranslatableError
from understudy.roleplay.patterns import Pattern, read_pattern
from understudy.roleplay.world_entry import WorldEntry

MAX_SCAN_DEPTH = 1000
PATTERN_SECONDS = 0.05
SCAN_SECONDS = 0.5  # for all regular expressions of one scan
START = "\x01"  # before each text that is searched, so that a pattern can tell where one begins
SOURCES = ("persona", "description", "personality", "depth_prompt", "scenario", "creator_notes")
AND_ANY, NOT_ALL, NOT_ANY, AND_ALL = range(4)  # `selectiveLogic`
FIRST, RECURSION, MORE_MESSAGES = "first", "recursion", "more messages"  # why a pass is made


@dataclass(slots=True)
class WorldFound:
    """What a scan of all books together called up, in the order of the prompt, and the effects that go on."""

    active: list[WorldEntry]
    placed: list[tuple[WorldEntry, Placed]]
    dropped: list[tuple[str, str]]
    warnings: list[str]
    sticky: dict[WorldEntry, TimedEffect]
    cooldown: dict[WorldEntry, TimedEffect]


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
        self.warnings: list[str] = []
        self.deadline = time.monotonic() + SCAN_SECONDS

    @property
    def depth(self) -> int:
        return self.world.scan_depth + self.skew

    def text_for(self, entry: WorldEntry, state: str) -> str:
        depth = self.depth if entry.scan_depth is None else entry.scan_depth
        if depth <= 0:
            return ""
        join = "\n" + START
        text = START + join.join(self.messages[: min(depth, MAX_SCAN_DEPTH)])
        for name in SOURCES:
            if name in entry.sources and self.settings.sources.get(name):
                text += join + self.settings.sources[name]
        if self.recursed and state != MORE_MESSAGES:
            text += join + join.join(self.recursed)
        return text

    def holds(self, text: str, key: str, entry: WorldEntry) -> bool:
        """Whether a key, with its macros replaced and its blanks cut off, stands in a text."""
        try:
            pattern = read_pattern(key)
        except UntranslatableError as error:
            self.warnings.append(f"{entry.label}: the key {key} cannot be used here: {error}")
            return False
        if pattern is not None:
            return self._finds(pattern, text, key, entry)
        is_exact = (
            self.world.case_sensitive if entry.case_sensitive is None else entry.case_sensitive
        )
        if not is_exact:
            text, key = text.lower(), key.lower()
        by_words = self.world.match_whole_words if entry.whole_words is None else entry.whole_words
        if not by_words or len(split_words(key)) > 1:
            return key in text
        edge = r"[^A-Za-z0-9_]"  # so in Chinese and Japanese every place is the edge of a word
        return regex.search(rf"(?:\A|{edge}){regex.escape(key)}(?:\Z|{edge})", text) is not None

    def _finds(self, pattern: Pattern, text: str, key: str, entry: WorldEntry) -> bool:
        left = min(PATTERN_SECONDS, self.deadline - time.monotonic())
        try:
            if left > 0:
                return pattern.matches(text, left)
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


class WorldScan:
    """One scan under way."""

    def __init__(
        self,
        entries: Sequence[WorldEntry],
        lines: Sequence[Line],
        settings: ScanSettings,
        sticky: dict[WorldEntry, TimedEffect],
        cooldown: dict[WorldEntry, TimedEffect],
    ) -> None:
        self.entries, self.settings, self.world = entries, settings, settings.world
        self.searched = Searched(lines, settings)
        self.num_messages = len(lines) if settings.num_messages is None else settings.num_messages
        self.num_lines = len(lines)
        self.draw: Callable[[], float] = settings.chance()
        self.sticky, self.cooldown = dict(sticky), dict(cooldown)
        self.active: list[WorldEntry] = []
        self.failed: set[WorldEntry] = set()
        self.dropped: dict[WorldEntry, str] = {}
        self.contents: dict[WorldEntry, str] = {}
        self.recursed_text = ""
        self.is_over_budget = False
        levels = sorted({entry.delay_level for entry in entries if entry.delay_level})
        self.levels, self.level = levels[1:], levels[0] if levels else 0

    def run(self) -> WorldFound:
        staying, resting = self._effects_now()
        state, num_passes = FIRST, 0
        while state:
            if 0 < self.world.max_recursion_steps <= num_passes:
                break
            num_passes += 1
            new = [e for e in self.entries if self._is_called(e, state, staying, resting)]
            new.sort(key=lambda entry: entry not in staying)
            before = list(new)
            keep_one_of_each_group(
                new, self.active, self.searched, state, staying, resting, self.draw
            )
            self.dropped |= {e: "another of its group" for e in before if e not in new}
            self._admit(new, staying)
            state = self._next_state(state, [e for e in new if e not in self.failed])
        self._start_effects()
        dropped = [(e.label, rule) for e, rule in self.dropped.items() if e not in self.active]
        warnings = list(dict.fromkeys(self.searched.warnings))
        return WorldFound(
            self.active, self._placed(), dropped, warnings, self.sticky, self.cooldown
        )

    # ---- who is called ----

    def _is_called(
        self, entry: WorldEntry, state: str, staying: set[WorldEntry], resting: set[WorldEntry]
    ) -> bool:
        if entry in self.failed or entry in self.active or not entry.is_enabled:
            return False
        if entry.triggers and self.settings.trigger not in entry.triggers:
            return False
        if not entry.is_for(self.settings.macros.char) or not self.settings.may_use(entry.entry):
            return False
        stays = entry in staying
        if self.num_messages < entry.delay or (entry in resting and not stays):
            return False
        if not stays and self._waits_for_recursion(entry, state):
            return False
        if entry.decorator is not None:
            return entry.decorator
        return entry.constant or stays or self._keys_match(entry, state)

    def _waits_for_recursion(self, entry: WorldEntry, state: str) -> bool:
        if state != RECURSION:
            return entry.delay_level > 0
        return entry.delay_level > self.level or (self.world.recursive and entry.exclude_recursion)

    def _keys_match(self, entry: WorldEntry, state: str) -> bool:
        if not entry.keys:
            return False
        text = self.searched.text_for(entry, state)
        if not any(self._key_matches(text, key, entry) for key in entry.keys):
            return False
        if not entry.selective or not entry.secondary_keys:
            return True
        found = (self._key_matches(text, key, entry) for key in entry.secondary_keys)
        if entry.logic == AND_ANY:
            return any(found)
        if entry.logic == NOT_ALL:
            return not all(found)
        there = list(found)
        return (entry.logic == NOT_ANY and not any(there)) or (
            entry.logic == AND_ALL and all(there)
        )

    def _key_matches(self, text: str, key: str, entry: WorldEntry) -> bool:
        key = expand(key, self.settings.macros)
        return bool(key) and self.searched.holds(text, trim(key), entry)

    # ---- who gets in ----

    def _admit(self, new: list[WorldEntry], staying: set[WorldEntry]) -> None:
        """Chance and the budget, in the order of the entries; the first that is too much ends it but for the exempt."""
        used = self._count(self.recursed_text)
        text = ""
        exempt = sum(entry.ignores_budget for entry in new)
        for entry in new:
            exempt -= entry.ignores_budget
            if self.is_over_budget and not entry.ignores_budget:
                self.dropped[entry] = "token budget of the lorebook"
                if exempt > 0:
                    continue
                break
            if not self._passes_chance(entry, staying):
                self.failed.add(entry)
                self.dropped[entry] = f"probability {entry.probability:g} %"
                continue
            self.contents[entry] = expand(entry.content, self.settings.macros)
            text += f"{self.contents[entry]}\n"
            budget = self.settings.budget
            if (
                not entry.ignores_budget
                and budget is not None
                and used + self._count(text) >= budget
            ):
                self.is_over_budget = True
                self.dropped[entry] = "token budget of the lorebook"
                continue
            self.active.append(entry)

    def _count(self, text: str) -> int:
        return self.settings.count_tokens(text) if text and self.settings.budget is not None else 0

    def _passes_chance(self, entry: WorldEntry, staying: set[WorldEntry]) -> bool:
        if not entry.use_probability or entry.probability == 100 or entry in staying:
            return True
        return self.draw() * 100 <= entry.probability

    def _next_state(self, state: str, successful: list[WorldEntry]) -> str:
        """Why there is another pass; empty for none."""
        following = ""
        calling = [entry for entry in successful if not entry.prevent_recursion]
        may_recurse = self.world.recursive and not self.is_over_budget
        if may_recurse and (calling or (state == MORE_MESSAGES and self.searched.recursed)):
            following = RECURSION
        if not following and not self.is_over_budget and self._wants_more():
            following = MORE_MESSAGES
            self.searched.skew += 1
        if not following and self.levels:
            following, self.level = RECURSION, self.levels.pop(0)
        text = "\n".join(self.contents.get(entry, entry.content) for entry in calling)
        if following and text:
            self.searched.recursed.append(text)
            self.recursed_text = f"{text}\n{self.recursed_text}"
        return following

    def _wants_more(self) -> bool:
        depth, limit = self.searched.depth, self.world.min_activations_depth
        is_too_far = 0 < limit < depth or depth > self.num_lines
        return len(self.active) < self.world.min_activations and not is_too_far

    # ---- effects that last ----

    def _effects_now(self) -> tuple[set[WorldEntry], set[WorldEntry]]:
        """Who stays and who rests in this turn; effects that have run out are forgotten."""
        now = self.num_messages
        staying, resting = set(), set()
        for entry, effect in list(self.sticky.items()):
            if self._is_over(effect, entry.sticky):
                del self.sticky[entry]
                if entry.sticky and entry.cooldown and now >= effect.end and now > effect.start:
                    self.cooldown[entry] = self._effect(entry, entry.cooldown, is_protected=True)
            else:
                staying.add(entry)
        for entry, effect in list(self.cooldown.items()):
            if self._is_over(effect, entry.cooldown):
                del self.cooldown[entry]
            else:
                resting.add(entry)
        return staying, resting

    def _is_over(self, effect: TimedEffect, length: int) -> bool:
        has_not_gone_on = self.num_messages <= effect.start and not effect.is_protected
        return has_not_gone_on or not length or self.num_messages >= effect.end

    def _effect(self, entry: WorldEntry, length: int, *, is_protected: bool = False) -> TimedEffect:
        now = self.num_messages
        return TimedEffect(entry.entry.index, now, now + length, is_protected)

    def _start_effects(self) -> None:
        for entry in self.active:
            if entry.sticky:
                self.sticky.setdefault(entry, self._effect(entry, entry.sticky))
            if entry.cooldown:
                self.cooldown.setdefault(entry, self._effect(entry, entry.cooldown))

    # ---- where it goes ----

    def _placed(self) -> list[tuple[WorldEntry, Placed]]:
        """Low orders first; of equal ones the later called first, as SillyTavern puts them; outlets the other way round."""
        falling = sorted(self.active, key=lambda entry: -entry.order)
        outlets = [entry for entry in falling if entry.position == "outlet"]
        return [
            (entry, placed)
            for entry in [*outlets, *(e for e in reversed(falling) if e.position != "outlet")]
            if (placed := self._place(entry)) is not None
        ]

    def _place(self, entry: WorldEntry) -> Placed | None:
        content = self.contents[entry]
        if not content or entry.position is None:
            return None
        num_tokens = self.settings.count_tokens(content)
        return Placed(
            content, entry.position, entry.entry, num_tokens, entry.depth, entry.role, entry.outlet
        )
