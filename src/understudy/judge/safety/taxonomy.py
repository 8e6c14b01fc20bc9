"""The content categories of AEGIS 1.0 (13 critical risks) and AEGIS 2.0 (12 of them again, and
finer ones), by their own names.

Names are those of the data sets' labels: nvidia/Aegis-AI-Content-Safety-Dataset-1.0 and -2.0.
"""

from __future__ import annotations

from typing import Literal

from understudy.errors import UsageError

SAFE = "Safe"
NEEDS_CAUTION = "Needs Caution"
OTHER = "Other"

AEGIS_1_CRITICAL = (
    "Hate/Identity Hate",
    "Sexual",
    "Violence",
    "Suicide and Self Harm",
    "Threat",
    "Sexual Minor",
    "Guns/Illegal Weapons",
    "Controlled/Regulated substances",
    "Criminal Planning/Confessions",
    "PII",
    "Harassment",
    "Profanity",
    "Other",
)
AEGIS_1 = (*AEGIS_1_CRITICAL, NEEDS_CAUTION, SAFE)

AEGIS_2_TOP = (
    "Hate/Identity Hate",
    "Sexual",
    "Violence",
    "Suicide and Self Harm",
    "Threat",
    "Sexual (minor)",
    "Guns and Illegal Weapons",
    "Controlled/Regulated Substances",
    "Criminal Planning/Confessions",
    "PII/Privacy",
    "Harassment",
    "Profanity",
)
AEGIS_2_FINE = (
    "Illegal Activity",
    "Immoral/Unethical",
    "Unauthorized Advice",
    "Political/Misinformation/Conspiracy",
    "Fraud/Deception",
    "Copyright/Trademark/Plagiarism",
    "High Risk Gov Decision Making",
    "Malware",
    "Manipulation",
)
AEGIS_2 = (*AEGIS_2_TOP, OTHER, NEEDS_CAUTION, *AEGIS_2_FINE, SAFE)

_RENAMED = {
    "Sexual (minor)": "Sexual Minor",
    "Guns and Illegal Weapons": "Guns/Illegal Weapons",
    "Controlled/Regulated Substances": "Controlled/Regulated substances",
    "PII/Privacy": "PII",
}
_CRIMINAL = (
    "Illegal Activity",
    "Fraud/Deception",
    "Malware",
)  # the fine ones that 1.0 had a name for


def to_aegis_1(category: str) -> str:
    """The 1.0 name of a 2.0 category; what 1.0 had no name for is Other, planned crimes are
    Criminal Planning/Confessions.

    Raises:
        UsageError: no category of AEGIS 2.0.
    """
    if category not in AEGIS_2:
        raise UsageError(
            "no category of AEGIS 2.0",
            where="category",
            expected=", ".join(AEGIS_2),
            found=category,
        )
    if category in _CRIMINAL:
        return "Criminal Planning/Confessions"
    return OTHER if category in AEGIS_2_FINE else _RENAMED.get(category, category)


def to_aegis_2(category: str) -> str:
    """The 2.0 name of a 1.0 category.

    Raises:
        UsageError: no category of AEGIS 1.0.
    """
    if category not in AEGIS_1:
        raise UsageError(
            "no category of AEGIS 1.0",
            where="category",
            expected=", ".join(AEGIS_1),
            found=category,
        )
    return {old: new for new, old in _RENAMED.items()}.get(category, category)


def is_critical(category: str) -> bool:
    """Whether a 2.0 category belongs to one of the 13 critical risks of 1.0."""
    return to_aegis_1(category) in AEGIS_1_CRITICAL


def is_unsafe(category: str, reading: Literal["permissive", "defensive"] = "defensive") -> bool:
    """Two readings of AEGIS: `Needs Caution` is safe when permissive, unsafe when defensive."""
    to_aegis_1(category)
    return category != SAFE and (category != NEEDS_CAUTION or reading == "defensive")
