"""The words of a question that a word search should look for."""

from __future__ import annotations

import re

MAX_WORDS = 64
_WORD = re.compile(r"\w+")
# Words that stand in nearly every passage: they cost time and decide nothing.
STOPWORDS = frozenset(
    (  # noqa: SIM905 - as a list of literals it reads worse
        "a about after all also an and any are as at be because been before being between both but by can could did do "
        "does doing during each for from further had has have having he her here hers him his how i if in into is it "
        "its itself just me more most my no nor not of on once only or other our out over own same she should so some "
        "such than that the their them then there these they this those through to too under until up very was we were "
        "what when where which while who whom whose why will with would you your s t "
    ).split()
)


def query_words(question: str, *, most: int | None = MAX_WORDS) -> list[str]:
    """Distinct words in order, stopwords left out unless there is nothing else."""
    words = list(dict.fromkeys(word.casefold() for word in _WORD.findall(question)))
    telling = [word for word in words if word not in STOPWORDS]
    return (telling or words)[:most]


def stem(word: str) -> str:
    """A word without the commonest English endings; enough to hold two texts against each other."""
    for ending in ("ing", "ied", "ies", "ed", "es", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
