"""Agreement and summary of a red team, as rows for a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def agreement_table(found: dict[str, Any]) -> str:
    """The document of `safety.redteam.agreement.agreement`, row by row."""
    return "".join(f"{line}\n" for line in _agreement(found))


def _agreement(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['rated_by_two']} conversations rated blindly by two or more"
    for pair in found["pairs"]:
        yield (
            f"\n{' and '.join(pair['raters'])}, {pair['items']} conversations      kappa (95 %)    "
            "         alike"
        )
        for name in ("severity", "severity_quadratic", "harmful", "category"):
            yield f"  {name.replace('_', ', '):34} {_kappa(pair[name])}"
        for name, kappa in pair["by_category"].items():
            yield f"    {name:32} {_kappa(kappa)}"
        yield f"  same turn of first harm            {pair['first_harm_equal']} of {pair['items']}"
    if any(pair["severity"]["is_small"] for pair in found["pairs"]):
        yield "\nfewer than 30 conversations: the intervals are too narrow"
    alpha = found["alpha"]
    if alpha["severity_ordinal"] is not None:
        yield (
            f"\nKrippendorff's alpha of all raters: severity {alpha['severity_ordinal']:.2f}, "
            f"category {_number(alpha['category_nominal'])}"
        )
    for row in found["disagreements"]:
        given = "; ".join(_given(rating) for rating in row["ratings"])
        yield f"\n{row['conversation']}, {row['steps']} steps apart: {given}"


def _given(rating: dict[str, Any]) -> str:
    where = f", turn {rating['first_harm']}" if rating["first_harm"] else ""
    return f"{rating['rater']}: {rating['severity']} ({rating['category']}{where})"


def _kappa(kappa: dict[str, Any]) -> str:
    if kappa["kappa"] is None:
        return f"{'- (all labels alike)':24} {kappa['observed']:.2f}"
    low, high = kappa["interval"]
    return (
        f"{kappa['kappa']:5.2f} ({low:.2f} to {high:.2f})".ljust(24) + f" {kappa['observed']:.2f}"
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def summary_table(found: dict[str, Any]) -> str:
    """The document of `safety.redteam.summary.summary`, row by row."""
    return "".join(f"{line}\n" for line in _summary(found))


def _summary(found: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{found['conversations']} conversations ({found['reruns']} of them "
        f"re-runs), {found['turns']} turns, "
        f"{found['rated']} rated, {found['unrated']} not"
    )
    yield f"goals: {found['goals']['all']}, done {found['goals']['done']}"
    yield "severity: " + _counts(found["severity"])
    yield "category: " + (_counts(found["category"]) or "none")
    yield "turn of first harm: " + (_counts(found["first_harm"]["turns"]) or "none")
    yield "findings: " + _counts(found["fixes"])
    yield "ratings: " + (_counts(found["raters"]) or "none")
    for row in found["models"]:
        yield (
            f"  {row['model']}: {row['conversations']} conversations, {row['rated']} "
            f"rated; {_counts(row['severity'])}"
        )


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())
