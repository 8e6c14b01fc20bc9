"""A message cut into clauses and sentences, as places in it, so that nothing of it is lost."""

from __future__ import annotations

import re

MIN_WORDS = 3  # of a clause that may stand alone
_SENTENCE = re.compile(r"(?<=[.?!;\n])\s+(?=[^\s])")
_ABBREVIATION = re.compile(r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|No|approx)\.$")
_CLAUSE = re.compile(
    r"\s*(?:,\s*|;\s*)?\b(?:and then|and also|and|then|also|as well as|plus|after "
    r"that|afterwards|additionally|finally)\b,?\s+"
    r"|\s*;\s+|\s*,\s+(?=(?:then|also|please|next|finally|get|find|check|show|tell|send|book|"
    r"calculate)\b)",
    re.IGNORECASE,
)
Span = tuple[int, int]


def sentences(text: str) -> list[Span]:
    """Where sentences stand; together they are the text."""
    starts = [0]
    for match in _SENTENCE.finditer(text):
        if not _ABBREVIATION.search(text, starts[-1], match.start()):
            starts.append(match.end())
    return _spans(starts, len(text))


def clauses(text: str) -> list[Span]:
    """Where clauses of some length stand, with the word that joins them to the next; together they
    are the text. What stands in quotation marks is not cut.
    """
    found: list[Span] = []
    for start, end in sentences(text):
        starts = [start]
        for match in _CLAUSE.finditer(text, start, end):
            if match.start() > starts[-1] and not _is_quoted(text, start, match.start()):
                starts.append(match.end())
        for span in _spans(starts, end):
            if (found and found[-1][1] > start and _is_short(text, found[-1])) or (
                len(found) > 0 and span[0] > start and _is_short(text, span)
            ):
                found[-1] = (found[-1][0], span[1])
            else:
                found.append(span)
    return found


def pieces(text: str) -> list[Span]:
    """Clauses, and the sentences that are several of them."""
    short = clauses(text)
    return list(dict.fromkeys([*short, *sentences(text)]))


def _spans(starts: list[int], end: int) -> list[Span]:
    return [(a, b) for a, b in zip(starts, [*starts[1:], end], strict=True) if a < b]


def _is_short(text: str, span: Span) -> bool:
    return len(text[span[0] : span[1]].split()) < MIN_WORDS


def _is_quoted(text: str, start: int, at: int) -> bool:
    return text.count('"', start, at) % 2 == 1
