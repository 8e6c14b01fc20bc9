"""How far raters agree beyond chance: Cohen's kappa for two, Krippendorff's alpha for any number,
and where they do not.

kappa = (p_o - p_e) / (1 - p_e) with p_o the observed and p_e the chance agreement of the two
raters' own distributions (Cohen 1960); weighted by distance for ordered labels (Cohen 1968). The
interval is the large-sample one of Fleiss, Cohen and Everitt (1969): with fewer than 30 items, or
with perfect agreement, it is too narrow, and `is_small` says so.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy.errors import UsageError
from understudy.judge.redteam.records import SEVERITIES, Rating, Records
from understudy.judge.safety.taxonomy import AEGIS_2
from understudy.report.statistics import Z_95

Weights = Literal["none", "linear", "quadratic"]
SMALL = 30


@dataclass(frozen=True, slots=True)
class Kappa:
    """`value` and `interval` are None where chance alone would agree always: all labels are one."""

    value: float | None
    interval: tuple[float, float] | None
    observed: float
    num_items: int

    @property
    def is_small(self) -> bool:
        return self.num_items < SMALL

    def to_document(self) -> dict[str, Any]:
        rounded = None if self.interval is None else [round(end, 4) for end in self.interval]
        value = None if self.value is None else round(self.value, 4)
        return {
            "kappa": value,
            "interval": rounded,
            "observed": round(self.observed, 4),
            "items": self.num_items,
            "is_small": self.is_small,
        }


def cohens_kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    labels: Sequence[Hashable],
    weights: Weights = "none",
) -> Kappa:
    """Agreement of two raters on the same items.

    Args:
        labels: all that could be given, in their order where `weights` counts distances.

    Raises:
        UsageError: not one label for each item of both.
    """
    if len(first) != len(second) or not set(first) | set(second) <= set(labels):
        raise UsageError(
            "raters must give one of the labels to each item",
            where="kappa",
            expected=len(first),
            found=len(second),
        )
    n, k = len(first), len(labels)
    if not n:
        return Kappa(None, None, 0.0, 0)
    place = {label: i for i, label in enumerate(labels)}
    share = [[0.0] * k for _ in range(k)]  # (first's label, second's label)
    for a, b in zip(first, second, strict=True):
        share[place[a]][place[b]] += 1 / n
    rows, columns = (
        [sum(row) for row in share],
        [sum(column) for column in zip(*share, strict=True)],
    )
    weight = [[_weight(i, j, k, weights) for j in range(k)] for i in range(k)]
    pairs = list(itertools.product(range(k), range(k)))
    observed = sum(weight[i][j] * share[i][j] for i, j in pairs)
    chance = sum(weight[i][j] * rows[i] * columns[j] for i, j in pairs)
    if 1 - chance < 1e-12:
        return Kappa(None, None, observed, n)
    value = (observed - chance) / (1 - chance)
    row_mean = [sum(weight[i][j] * columns[j] for j in range(k)) for i in range(k)]
    column_mean = [sum(weight[i][j] * rows[i] for i in range(k)) for j in range(k)]
    spread = sum(
        share[i][j] * (weight[i][j] - (row_mean[i] + column_mean[j]) * (1 - value)) ** 2
        for i, j in pairs
    )
    variance = (spread - (value - chance * (1 - value)) ** 2) / (n * (1 - chance) ** 2)
    half = Z_95 * math.sqrt(max(0.0, variance))
    return Kappa(value, (max(-1.0, value - half), min(1.0, value + half)), observed, n)


def _weight(i: int, j: int, k: int, weights: Weights) -> float:
    if weights == "none" or k == 1:
        return float(i == j)
    distance = abs(i - j) / (k - 1)
    return 1 - (distance if weights == "linear" else distance**2)


def krippendorffs_alpha(
    items: Sequence[Sequence[Hashable]], labels: Sequence[Hashable], *, is_ordinal: bool = False
) -> float | None:
    """Agreement of any number of raters, who need not all have rated all items (Krippendorff 2011).
    None where nothing can be said.

    Args:
        items: for each item the labels that it got.
    """
    coincidence: dict[tuple[Hashable, Hashable], float] = defaultdict(float)
    for given in items:
        for a, b in itertools.permutations(range(len(given)), 2):
            coincidence[given[a], given[b]] += 1 / (len(given) - 1)
    total = {label: sum(coincidence[label, other] for other in labels) for label in labels}
    n = sum(total.values())
    if n < 2:
        return None
    distance = {
        (a, b): _distance(i, j, labels, total, is_ordinal)
        for i, a in enumerate(labels)
        for j, b in enumerate(labels)
    }
    observed = sum(coincidence[pair] * distance[pair] for pair in distance)
    expected = sum(total[a] * total[b] * distance[a, b] for a, b in distance) / (n - 1)
    return None if expected == 0 else 1 - observed / expected


def _distance(
    i: int, j: int, labels: Sequence[Hashable], total: dict[Hashable, float], is_ordinal: bool
) -> float:
    if not is_ordinal:
        return float(i != j)
    low, high = min(i, j), max(i, j)
    between = (
        sum(total[label] for label in labels[low : high + 1])
        - (total[labels[low]] + total[labels[high]]) / 2
    )
    return between**2 if i != j else 0.0


# ---- of a store ----


def agreement(records: Records, conversations: set[str] | None = None) -> dict[str, Any]:
    """Agreement on everything that two or more people rated blindly, each pair of raters by itself.

    Args:
        conversations: these only (a person who rates blindly must not learn of others).
    """
    ratings = [
        one
        for one in records.current_ratings(is_blind=True)
        if conversations is None or one.conversation in conversations
    ]
    by_conversation: dict[str, dict[str, Rating]] = defaultdict(dict)
    for one in ratings:
        by_conversation[one.conversation][one.rater] = one
    shared = {id: given for id, given in by_conversation.items() if len(given) > 1}
    raters = sorted({rater for given in shared.values() for rater in given})
    pairs = [_pair(a, b, shared) for a, b in itertools.combinations(raters, 2)]
    severities = [[one.severity for one in given.values()] for given in shared.values()]
    categories = [[one.category for one in given.values()] for given in shared.values()]
    alpha = {
        "severity_ordinal": krippendorffs_alpha(severities, tuple(SEVERITIES), is_ordinal=True),
        "category_nominal": krippendorffs_alpha(categories, AEGIS_2),
    }
    return {
        "raters": raters,
        "rated_by_two": len(shared),
        "pairs": [pair for pair in pairs if pair["items"]],
        "alpha": {
            name: None if value is None else round(value, 4) for name, value in alpha.items()
        },
        "disagreements": disagreements(shared),
    }


def _pair(a: str, b: str, shared: dict[str, dict[str, Rating]]) -> dict[str, Any]:
    both = [(given[a], given[b]) for given in shared.values() if a in given and b in given]
    return {"raters": [a, b], "items": len(both), **_kappas(both)}


def _kappas(both: list[tuple[Rating, Rating]]) -> dict[str, Any]:
    """Of severity (plain and by distance), harmful or not, category, and each category against all
    others."""
    one, two = [x for x, _ in both], [y for _, y in both]
    severity = [x.severity for x in one], [y.severity for y in two]
    category = [x.category for x in one], [y.category for y in two]
    used = [name for name in AEGIS_2 if name in {*category[0], *category[1]}]
    return {
        "severity": cohens_kappa(*severity, tuple(SEVERITIES)).to_document(),
        "severity_quadratic": cohens_kappa(*severity, tuple(SEVERITIES), "quadratic").to_document(),
        "harmful": _kappa_against(severity, "none").to_document(),
        "category": cohens_kappa(*category, AEGIS_2).to_document(),
        "by_category": {name: _kappa_against(category, name).to_document() for name in used},
        "first_harm_equal": sum(x.first_harm == y.first_harm for x, y in both),
    }


def _kappa_against(sides: tuple[list[str], list[str]], label: str) -> Kappa:
    """Of one label against all others."""
    first, second = ([given == label for given in side] for side in sides)
    return cohens_kappa(first, second, (False, True))


def disagreements(shared: dict[str, dict[str, Rating]]) -> list[dict[str, Any]]:
    """Conversations on which severity, category or first turn of harm differ, the widest difference
    of severity first."""
    order = {name: i for i, name in enumerate(SEVERITIES)}
    found = []
    for id, given in shared.items():
        ratings = [given[rater] for rater in sorted(given)]
        if len({(one.severity, one.category, one.first_harm) for one in ratings}) == 1:
            continue
        levels = [order[one.severity] for one in ratings]
        found.append(
            {
                "conversation": id,
                "steps": max(levels) - min(levels),
                "ratings": [
                    {
                        "rater": one.rater,
                        "severity": one.severity,
                        "category": one.category,
                        "first_harm": one.first_harm,
                        "note": one.note,
                    }
                    for one in ratings
                ],
            }
        )
    return sorted(found, key=lambda row: (-row["steps"], row["conversation"]))
