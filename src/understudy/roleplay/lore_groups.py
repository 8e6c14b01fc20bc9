"""Inclusion groups of SillyTavern's lorebooks: of the entries of one group only one gets into the
prompt.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from understudy.roleplay.lore_search import Searched
from understudy.roleplay.world_entry import WorldEntry, key_order


def keep_one_of_each_group(
    new: list[WorldEntry],
    active: list[WorldEntry],
    searched: Searched,
    state: str,
    staying: set[WorldEntry],
    resting: set[WorldEntry],
    draw: Callable[[], float],
) -> None:
    """Takes the losers of every group out of `new`.

    Who stays from earlier turns wins, unless it rests at the same time, when nobody does; otherwise
    those with the most keys, where scores count; then nobody, if the group has one in the prompt
    already; then the highest order of those that override; then one by weight.
    """
    groups = _groups(new)
    with_staying = set()
    for name, group in groups.items():
        if sticky := [entry for entry in group if entry in staying]:
            with_staying.add(name)
            _remove(new, [entry for entry in group if entry not in sticky])
        _remove(new, [entry for entry in group if entry in resting])
    for name, group in groups.items():
        if name not in with_staying:
            groups[name] = _best_scored(new, group, searched, state)
    for name, group in groups.items():
        if name in with_staying:
            continue
        if any(entry.group == name for entry in active):
            _remove(new, group)
        elif len(group) > 1:
            winner = _winner(group, draw)
            _remove(new, [entry for entry in group if entry is not winner])


def _groups(new: list[WorldEntry]) -> dict[str, list[WorldEntry]]:
    found: dict[str, list[WorldEntry]] = {}
    for entry in new:
        for name in re.split(r",\s*", entry.group):
            if name:
                found.setdefault(name, []).append(entry)
    return {name: found[name] for name in key_order(found)}


def _remove(new: list[WorldEntry], losers: list[WorldEntry]) -> None:
    """Who lost in one group already and loses in a second takes the last entry along, as in
    SillyTavern.
    """
    for entry in losers:
        if entry in new:
            new.remove(entry)
        elif new:
            new.pop()


def _best_scored(
    new: list[WorldEntry], group: list[WorldEntry], searched: Searched, state: str
) -> list[WorldEntry]:
    general = searched.world.use_group_scoring
    if not general and not any(entry.use_group_scoring for entry in group):
        return group
    scores = {entry: searched.score(entry, state) for entry in group}
    best = max(scores.values())

    def is_scored(entry: WorldEntry) -> bool:
        return general if entry.use_group_scoring is None else entry.use_group_scoring

    losers = [entry for entry in group if is_scored(entry) and scores[entry] < best]
    _remove(new, losers)
    return [entry for entry in group if entry not in losers]


def _winner(group: list[WorldEntry], draw: Callable[[], float]) -> WorldEntry:
    if overriding := [entry for entry in group if entry.group_override]:
        return max(overriding, key=lambda entry: entry.order)  # of equal ones the first
    mark = draw() * sum(entry.group_weight for entry in group)
    reached = 0.0
    for entry in group:
        reached += entry.group_weight
        if mark <= reached:
            return entry
    return group[-1]
