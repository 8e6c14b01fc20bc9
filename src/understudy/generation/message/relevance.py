"""Does a message want one of the tools? A gate that is asked before a model is.

Small models call a tool for small talk, or describe the call instead of making it. The gate holds a
message against each tool (vectors of the words, words in common, what kinds of values the message
holds) and gives one number a tool, a logit:

    above `SURE`      the message wants a tool: the grammar asks for a call
    below `UNLIKELY`  it does not: the answer is in words
    between           the model decides

The weights are those of a logistic regression over public tool-calling data, fitted and checked by
`bench/relevance.py`, which also prints what each threshold does on the half that the fit has not
seen. Without an embedder the words decide alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from understudy.errors import MissingError
from understudy.generation.message.tool_features import (
    FEATURE_NAMES,
    Described,
    ToolFeatures,
    background_vector,
)
from understudy.generation.message.words import is_foreign
from understudy.text.embed import Embedder, open_embedder

SURE = 0.5
SURE_ALONE = 0.15  # of the only tool there is: nothing else can be meant
UNLIKELY = -1.0
WEIGHTS = {  # feature: weight with vectors, weight with words alone
    "name_cosine": (-1.01, 0.0),
    "description_margin": (4.23, 0.0),
    "lead": (1.49, 0.0),
    "name_near": (2.4, 0.0),
    "object_near": (1.59, 0.0),
    "message_near": (-3.35, 0.0),
    "message_near_all": (1.93, 0.0),
    "covered": (0.59, 1.56),
    "name_covered": (0.08, 1.76),
    "description_covered": (1.1, 1.73),
    "object_covered": (0.33, 1.54),
    "shared": (0.98, 1.8),
    "numbers": (1.63, 1.79),
    "num_required": (-1.37, -0.67),
    "supported": (1.2, 1.2),
    "spoken": (0.12, 0.12),
    "least_spoken": (0.71, 0.81),
    "needs_nothing": (1.7, 1.85),
    "length": (-2.98, -2.89),
    "has_name": (0.85, 0.76),
    "is_question": (0.35, 0.4),
    "is_talk": (-0.16, -0.2),
    "num_tools": (-0.31, -0.29),
    "bias": (-3.73, -3.2),
}
Verdict = Literal["call", "words", "open"]


@dataclass(frozen=True, slots=True)
class Relevance:
    """One logit a tool, in the tools' order, and what follows from the best of them."""

    scores: tuple[float, ...]
    is_foreign: bool = False  # not English, as far as words tell: low scores say nothing

    @property
    def best(self) -> float:
        return max(self.scores, default=-math.inf)

    @property
    def verdict(self) -> Verdict:
        if self.best >= surety(len(self.scores)):
            return "call"
        return "words" if self.best < UNLIKELY and not self.is_foreign else "open"

    def nearest(self, margin: float) -> tuple[int, ...]:
        """Indices of the tools whose score is within `margin` of the best, in the tools' order."""
        return tuple(i for i, score in enumerate(self.scores) if score >= self.best - margin)


def surety(num_tools: int) -> float:
    """The logit from which on a call is asked for."""
    return SURE_ALONE if num_tools == 1 else SURE


class Gate:
    """Holds messages against tools. What it knows of a list of tools is kept for the next
    message.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self._embedder = embedder
        self._usual = None if embedder is None else background_vector(embedder)
        self._known: tuple[tuple[Described, ...], ToolFeatures] | None = None
        weights = [WEIGHTS[name][0 if embedder is not None else 1] for name in FEATURE_NAMES]
        self._weights = np.array(weights)

    def features(self, message: str, tools: Sequence[Described]) -> NDArray[np.float64]:
        """(tools, features), as `FEATURE_NAMES` has them."""
        if self._known is None or self._known[0] != tuple(tools):
            self._known = tuple(tools), ToolFeatures(tools, self._embedder, self._usual)
        return self._known[1].of(message)

    def scores(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits of features (…, features)."""
        logits: NDArray[np.float64] = features @ self._weights
        return logits

    def relevance(self, message: str, tools: Sequence[Described]) -> Relevance:
        """The logit of each tool for this message; about a millisecond for ten tools."""
        if not tools:
            return Relevance(())
        scores = self.scores(self.features(message, tools))
        return Relevance(tuple(float(score) for score in scores), is_foreign(message))


@functools.cache
def shared_gate() -> Gate:
    """The gate of this process, with the embedder of documents where it is installed, with words
    alone where it is not.
    """
    try:
        return Gate(open_embedder("wordllama"))
    except (MissingError, ImportError):
        return Gate()
