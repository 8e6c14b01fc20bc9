"""When the documents do not say: a confidence out of the retrieval alone, and the threshold below which nothing is answered.

The confidence is logistic in two features of the best passages: the share of the question's telling words that stand in one of them,
and the cosine of the question with the nearest one. Weights and the default threshold come from `bench/rag_abstain.py`: SQuAD questions
against an index that holds their passages (to be answered) or only those of other articles (not to be).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.rag.store import Passage
from understudy.rag.words import query_words, stem

WEIGHTS = (-10.039, 11.253, 10.629)  # bias, coverage, cosine
NUM_BEST = 3


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold and what it was measured to do: shares of answerable questions answered, of unanswerable ones declined."""

    threshold: float
    answered: float
    declined: float
    measured_on: str

    def __str__(self) -> str:
        return (
            f"threshold {self.threshold:.2f}: answers {100 * self.answered:.0f} % of what the documents say, "
            f"declines {100 * self.declined:.0f} % of what they do not ({self.measured_on})"
        )


DEFAULT_POINT = OperatingPoint(
    0.37,
    0.936,
    0.856,
    "500 SQuAD questions held out, each with and without its article in the index",
)


def features(question: str, passages: Sequence[Passage]) -> tuple[float, float]:
    """(coverage, cosine), both 0 to 1; 0 where nothing was found."""
    words = {stem(word) for word in query_words(question)}
    best = passages[:NUM_BEST]
    if not words or not best:
        return 0.0, 0.0
    coverage = max(
        len(words & {stem(word) for word in query_words(p.text, most=None)}) for p in best
    ) / len(words)
    return coverage, max(0.0, max(p.similarity for p in passages))


def confidence(question: str, passages: Sequence[Passage]) -> float:
    """How sure the retrieval is that the passages hold the answer, 0 to 1."""
    coverage, cosine = features(question, passages)
    return 1 / (1 + math.exp(-(WEIGHTS[0] + WEIGHTS[1] * coverage + WEIGHTS[2] * cosine)))
