"""Names that hold a digit, as invoices, parts and versions have them: 2026-117, RX-7, A12, v4.2.

Words and vectors hardly tell 2026-117 from 2026-116, yet who asks for one of them wants that one: a
row of a table with another does not answer, and where the passages hold its like but not it,
nothing does. RX-7, RX7 and RX 7 are one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from understudy.rag.sentences import Sentence
from understudy.rag.store import Passage

_PART = re.compile(r"\d+|[^\W\d_]+")
OTHER_ROW = 20.0  # what a row loses that has another name: it comes behind all that may answer

_TOKEN = re.compile(r"(?<!\w)#?\w(?:[\w./_-]*\w)?")
_PLAIN = re.compile(
    r"\d+(?:[.,]\d+)*"  # a number
    r"|(?:1[0-9]|20)\d\d-(?:\d\d){1,2}"  # years from … to
    r"|\d+(?:st|nd|rd|th|s)(?:-\w+)?"  # 3rd, 19th-century, 1990s
    r"|\d+(?:[.,]\d+)?-?[^\W\d_]{1,3}"  # 5km, 10-mm, 3pm
    r"|\d+-[^\W\d_]+(?:-[^\W\d_]+)*"  # 10-year-old
    r"|\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}-\d\d-\d\d",  # a date
    re.I,
)


def identifiers(text: str) -> frozenset[str]:
    """The names with digits in a text, in small letters; no numbers, years, dates or measures."""
    tokens = (token.lstrip("#").casefold() for token in _TOKEN.findall(text))
    return frozenset(t for t in tokens if any(map(str.isdigit, t)) and not _PLAIN.fullmatch(t))


def holds(text: str, names: Iterable[str]) -> bool:
    """Whether one of the names stands in a text, not as a part of a longer one."""
    small = text.casefold()
    return any(re.search(_pattern(name), small) for name in names)


def _pattern(name: str) -> str:
    parts = _PART.findall(name)
    return rf"(?<![\w-]){'[ ./_-]?'.join(map(re.escape, parts))}(?![\w-]|\.\w)"


def _shape(name: str) -> str:
    """What names of one series have in common: letters, and where digits are."""
    return re.sub(r"\d", "0", "".join(_PART.findall(name)))


def by_name(question: str, sentences: Sequence[Sentence]) -> tuple[Sentence, ...]:
    """The ranked sentences, rows of other things than the one that is asked about behind the rest;
    as they are where the question names nothing, or nothing that a sentence holds.
    """
    names = identifiers(question)
    held = [holds(sentence.said or sentence.text, names) for sentence in sentences]
    if not any(held):
        return tuple(sentences)
    found = (
        sentence if is_held or "|" not in sentence.text else _set_back(sentence)
        for sentence, is_held in zip(sentences, held, strict=True)
    )
    return tuple(sorted(found, key=lambda sentence: -sentence.score))


def _set_back(sentence: Sentence) -> Sentence:
    return replace(sentence, score=sentence.score - OTHER_ROW)


def names_are_absent(question: str, passages: Sequence[Passage]) -> bool:
    """Whether the question names something whose like the passages name, but not it."""
    names, texts = identifiers(question), [passage.with_heading for passage in passages]
    if not names or any(holds(text, names) for text in texts):
        return False
    shapes = {_shape(name) for name in names}
    return any(_shape(other) in shapes for text in texts for other in identifiers(text))
