"""The threshold of `abstain.py`, with what it was measured to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and what it was measured to do: the share of answerable questions answered, of
    unanswerable ones declined.

    `declined_near` is the share declined where only the passage is missing and the rest of its
    article is there.
    """

    threshold: float
    answered: float
    declined: float
    measured_on: str
    declined_near: float | None = None

    def __str__(self) -> str:
        near = (
            f" ({100 * self.declined_near:.0f} % where the same article is there)"
            if self.declined_near is not None
            else ""
        )
        return (
            f"threshold {self.threshold:.2f}: answers {100 * self.answered:.0f} % of what the "
            "documents say, "
            f"declines {100 * self.declined:.0f} % of what they do not{near} ({self.measured_on})"
        )


DEFAULT_POINT = OperatingPoint(
    0.29,
    0.920,
    0.892,
    "1,000 SQuAD questions with the passage, without it, and without its article; weights of "
    "questions about other articles, the threshold of these",
    0.636,
)
