"""Where sentences end.

    [text[start:end] for start, end in sentence_spans("Dr. Vane came at 9.30. She left.")]
    # ["Dr. Vane came at 9.30.", "She left."]

A mark ends a sentence where white space follows (in Chinese and Japanese anywhere), unless what
stands before it is an initial, a title or another abbreviation, or what follows goes on in lower
case where the sentence began with a capital. Words that are abbreviations only before more words of
the same sentence ("Inc.", "etc.") end one where a capital follows. The rules are those that
Kiss and Strunk (2006) name for English, with short lists instead of statistics.
"""

from __future__ import annotations

import re

_END = re.compile(r"(?:[.!?…]+[\"'”’)\]]*(?=\s)|[。！？]+[\"'”’)\]」』）]*)\s*", re.DOTALL)
_WORDS = {  # after which a full stop is none
    # before names
    "names": "mr mrs ms dr prof st rev gen col sgt capt cpt lt gov sen rep hon fr sr sra mme mlle "
    "mons",
    "numbers": "no nos nr vol vols fig figs eq eqs sec ch pp p art ca approx est",
    "anything": "vs cf eg ie bzw vgl bspw dept",
    # where what follows is in lower case
    "more": "inc ltd co corp bros jr etc al a.m p.m usw jan feb mar apr jun jul aug sep sept oct "
    "nov dec ed eds ave blvd rd mt",
    # which begin a sentence even behind "U.S."
    "starters": "the a an it he she they we i you this that these those there in on at as for "
    "after before when while however but and its his her their our if by from with since although "
    "der die das es er sie wir",
    "months": "januar februar märz april mai juni juli august september oktober november dezember",
}
_LISTS = {name: frozenset(words.split()) for name, words in _WORDS.items()}
_TAIL = 60  # characters of a sentence that tell how it ends
_LAST_WORD = re.compile(r"([^\s(\[\"'“‘]+)\.$")
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # "U.S", "e.g"
_NAME_BEFORE = re.compile(r"(?:^|[\s(])(?:[A-ZÀ-Þ][\w'’.-]*)\s+$")
_NEXT = re.compile(r"[\"'“‘(\[]*([^\W\d_]*)")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence, without the white space around it."""
    spans, start = [], len(text) - len(text.lstrip())
    for match in _END.finditer(text):
        end = match.start() + len(match[0].rstrip())
        if end <= start or _goes_on(text, start, end, match.end()):
            continue
        spans.append((start, end))
        start = match.end()
    end = len(text.rstrip())
    return [*spans, (start, end)] if start < end else spans


def _goes_on(text: str, start: int, end: int, following: int) -> bool:
    """Whether the mark at the end of what would be a sentence is none."""
    tail = text[max(start, end - _TAIL) : end]
    found = _LAST_WORD.search(tail)
    if found is None or following >= len(text):
        return False
    match = _NEXT.match(text, following)
    word, after = found[1], match[1] if match else ""
    folded, is_lower = word.lower(), after[:1].islower()
    if is_lower and text[start].isupper():
        return True
    if folded in _LISTS["numbers"]:
        return text[following].isdigit()
    if folded in _LISTS["more"]:
        return is_lower
    if word.isdigit() and len(word) < 3:
        return after.lower() in _LISTS["months"]
    if len(word) == 1 and word.isupper():
        return after[:1].isupper() and bool(_NAME_BEFORE.search(tail[: found.start(1)]))
    if _DOTTED.fullmatch(word):
        return after.lower() not in _LISTS["starters"] or not after[:1].isupper()
    return folded in _LISTS["names"] or folded in _LISTS["anything"]
