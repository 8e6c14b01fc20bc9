"""Entries that stay (`sticky`) and rest (`cooldown`) for a number of messages (SillyTavern 1.19.0,
`WorldInfoTimedEffects`).
"""

from __future__ import annotations

from collections.abc import Sequence

from understudy.roleplay.lore import TimedEffect
from understudy.roleplay.world_entry import WorldEntry


class Effects:
    """The effects of one scan; those that go on are in `sticky` and `cooldown` afterwards."""

    def __init__(
        self,
        num_messages: int,
        sticky: dict[WorldEntry, TimedEffect],
        cooldown: dict[WorldEntry, TimedEffect],
    ) -> None:
        self.num_messages = num_messages
        self.sticky, self.cooldown = dict(sticky), dict(cooldown)

    def now(self) -> tuple[set[WorldEntry], set[WorldEntry]]:
        """Who stays and who rests in this turn; effects that have run out are forgotten."""
        staying, resting = set(), set()
        for entry, effect in list(self.sticky.items()):
            if self._is_over(effect, entry.sticky):
                del self.sticky[entry]
                if (
                    entry.sticky
                    and entry.cooldown
                    and effect.start < self.num_messages >= effect.end
                ):
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

    def start(self, active: Sequence[WorldEntry]) -> None:
        for entry in active:
            if entry.sticky:
                self.sticky.setdefault(entry, self._effect(entry, entry.sticky))
            if entry.cooldown:
                self.cooldown.setdefault(entry, self._effect(entry, entry.cooldown))
