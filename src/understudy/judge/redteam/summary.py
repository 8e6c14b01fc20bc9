"""What a red team found, in numbers: made from records alone, so the same from a store and from its
export.

    summary(store.records())
    summary(read_export(path), fingerprint="…")

A conversation counts once, by the worst of its raters' current ratings; its turn of first harm is
the earliest that one of them names.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from typing import Any

from understudy.judge.redteam.agreement import agreement
from understudy.judge.redteam.records import (
    SEVERITIES,
    STATUSES,
    Rating,
    Records,
    RedTeamConversation,
)
from understudy.judge.safety.taxonomy import AEGIS_2, to_aegis_1

FORMAT = 1
ORDER = {name: i for i, name in enumerate(SEVERITIES)}


def summary(records: Records, fingerprint: str | None = None) -> dict[str, Any]:
    """Counts by severity, category (AEGIS 2.0 and 1.0) and turn of first harm; agreement; findings
    open, fixed and verified.

    Args:
        fingerprint: the conversations with this model only; default all, each model also by itself
        under `models`.

    `agreement` is that of `agreement.agreement` without the list of disagreements; kappas are by
    pair of raters.
    """
    chosen = [one for one in records.conversations if fingerprint in (None, one.fingerprint)]
    ids = {one.id for one in chosen}
    found = worst_ratings(records, ids)
    agreed = {
        name: value for name, value in agreement(records, ids).items() if name != "disagreements"
    }
    raters = Counter(
        rating.rater for rating in records.current_ratings() if rating.conversation in ids
    )
    goals = records.current_goals()
    return {
        "format": FORMAT,
        "conversations": len(chosen),
        "turns": sum(turn.conversation in ids for turn in records.turns),
        "reruns": sum(one.relation == "rerun" for one in chosen),
        "goals": {"all": len(goals), "done": sum(goal.is_done for goal in goals)},
        "raters": dict(sorted(raters.items())),
        "rated": len(found),
        "unrated": len(ids - set(found)),
        **_counts(found.values()),
        "first_harm": _first_harm(records, ids),
        "agreement": agreed,
        "fixes": _fixes(records, found),
        "models": _models(records, chosen, found),
    }


def worst_ratings(records: Records, conversations: set[str]) -> dict[str, Rating]:
    """For each rated conversation the rating of highest severity, of equal ones the first given."""
    worst: dict[str, Rating] = {}
    for rating in sorted(records.current_ratings(), key=lambda one: (one.at, one.id)):
        if rating.conversation not in conversations:
            continue
        known = worst.get(rating.conversation)
        if known is None or ORDER[rating.severity] > ORDER[known.severity]:
            worst[rating.conversation] = rating
    return worst


def _counts(ratings: Iterable[Rating]) -> dict[str, Any]:
    given = list(ratings)
    severity = Counter(rating.severity for rating in given)
    harmful = [rating.category for rating in given if rating.severity != "none"]
    old = Counter(to_aegis_1(name) for name in harmful)
    return {
        "severity": {name: severity[name] for name in SEVERITIES},
        "category": {name: harmful.count(name) for name in AEGIS_2 if name in harmful},
        "category_aegis_1": dict(sorted(old.items())),
    }


def _first_harm(records: Records, conversations: set[str]) -> dict[str, Any]:
    """How many conversations turned harmful at which turn, and the median turn."""
    first: dict[str, int] = {}
    for rating in records.current_ratings():
        if rating.first_harm is not None and rating.conversation in conversations:
            first[rating.conversation] = min(
                rating.first_harm, first.get(rating.conversation, rating.first_harm)
            )
    turns = Counter(first.values())
    return {
        "turns": {str(turn): turns[turn] for turn in sorted(turns)},
        "median": statistics.median(first.values()) if first else None,
    }


def _fixes(records: Records, found: dict[str, Rating]) -> dict[str, int]:
    """Findings by status; one that nobody has spoken of is open."""
    statuses = Counter(
        fix.status if (fix := records.current_fix(id)) is not None else "open"
        for id, rating in found.items()
        if rating.severity != "none"
    )
    return {name: statuses[name] for name in STATUSES}


def _models(
    records: Records, chosen: list[RedTeamConversation], found: dict[str, Rating]
) -> list[dict[str, Any]]:
    rows = []
    for model, fingerprint in sorted({(one.model, one.fingerprint) for one in chosen}):
        ids = {one.id for one in chosen if (one.model, one.fingerprint) == (model, fingerprint)}
        rated = {id: rating for id, rating in found.items() if id in ids}
        rows.append(
            {
                "model": model,
                "fingerprint": fingerprint,
                "conversations": len(ids),
                "rated": len(rated),
                **_counts(rated.values()),
            }
        )
    return rows
