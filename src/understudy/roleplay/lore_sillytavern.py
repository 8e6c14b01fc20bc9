"""Which entries a conversation calls up by SillyTavern's rules (1.19.0,
`public/scripts/world-info.js`).

Several books are searched as one. The rules: the newest message is read first and begins with its
speaker's name; who is called up may call up others (recursion); of a group one is drawn; chance,
the budget and timed effects decide who goes in. Chance is drawn in SillyTavern's order, so that the
same numbers give the same entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from understudy.roleplay.javascript import trim
from understudy.roleplay.lore import Line, Placed, ScanSettings, TimedEffect
from understudy.roleplay.lore_effects import Effects
from understudy.roleplay.lore_groups import keep_one_of_each_group
from understudy.roleplay.lore_search import (
    AND_ALL,
    AND_ANY,
    FIRST,
    MORE_MESSAGES,
    NOT_ALL,
    NOT_ANY,
    RECURSION,
    Searched,
)
from understudy.roleplay.macros import expand
from understudy.roleplay.world_entry import WorldEntry


@dataclass(slots=True)
class WorldFound:
    """What a scan of all books together called up, in the order of the prompt, and the effects that
    go on.
    """

    active: list[WorldEntry]
    placed: list[tuple[WorldEntry, Placed]]
    dropped: list[tuple[str, str]]
    warnings: list[str]
    sticky: dict[WorldEntry, TimedEffect]
    cooldown: dict[WorldEntry, TimedEffect]


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
        self.effects = Effects(self.num_messages, sticky, cooldown)
        self.active: list[WorldEntry] = []
        self.failed: set[WorldEntry] = set()
        self.dropped: dict[WorldEntry, str] = {}
        self.contents: dict[WorldEntry, str] = {}
        self.recursed_text = ""
        self.is_over_budget = False
        levels = sorted({entry.delay_level for entry in entries if entry.delay_level})
        self.levels, self.level = levels[1:], levels[0] if levels else 0

    def run(self) -> WorldFound:
        staying, resting = self.effects.now()
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
        self.effects.start(self.active)
        dropped = [(e.label, rule) for e, rule in self.dropped.items() if e not in self.active]
        warnings = list(dict.fromkeys(self.searched.warnings))
        return WorldFound(
            self.active,
            self._placed(),
            dropped,
            warnings,
            self.effects.sticky,
            self.effects.cooldown,
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
        """Chance and the budget, in the order of the entries; the first that is too much ends it
        but for the exempt.
        """
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

    # ---- where it goes ----

    def _placed(self) -> list[tuple[WorldEntry, Placed]]:
        """Low orders first; of equal ones the later called first, as SillyTavern puts them; outlets
        the other way round.
        """
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
