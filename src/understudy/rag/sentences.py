"""Which sentences of the passages answer a question, and which of them support an answer. A row of
a table and a short list count as sentences (`parts.py`).

`rank_sentences` scores each sentence of the found passages by `VALUES`. `choose_quotes` then takes
those that hold what an answer says, and `unsupported` names what no quote holds.

A difference of scores is the logarithm of how much likelier one sentence is the right one than the
other. `bench/rag_fit.py` fitted the weights on 1,200 questions about 44 articles of SQuAD.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from understudy.rag.alignment import Embed, alignment_of
from understudy.rag.cite import shown
from understudy.rag.parts import Part, parts_of
from understudy.rag.store import Passage
from understudy.rag.words import query_words, search_words, stem

MAX_PASSAGES = 6  # that are looked through
MAX_SENTENCES = 200
VALUES = (  # by which sentences are ranked: name, weight
    ("before", 2.140),  # share of the question's rare words that only the sentence before it holds
    ("whole", 3.808),  # share of them that its passage holds, with its heading
    ("cosine", 4.288),  # of its vector and the question's
    ("similarity", 3.312),  # of its passage, as the search found it
    ("kind", 1.109),  # 1 where it holds a number, a date, a name as is asked for, -1 where not
    ("near", 10.702),  # how near in meaning its nearest word is to each of the question's
    ("held", -2.615),  # the same of words alone: in `near` these count for more than they tell
    ("pairs", 1.242),  # share of the question's neighbouring words that it holds side by side
    ("length", -1.037),  # a long sentence holds many words whatever is asked
)
WEIGHTS = np.array([weight for _, weight in VALUES])
MAX_JOINED = 600  # characters of two sentences that are quoted as one
SUPPORT = 4.5  # what an answer's words weigh beside the score
_NUMBER = re.compile(r"\d+(?:[.,:/]\d+)*")
_NAME = re.compile(r"(?<![.!?]\s)(?<!^)\b[^\W\d_][\w'’-]*")
_NUMBER_WORDS = frozenset(
    [
        "one",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
        "eleven",
        "twelve",
        "hundred",
        "thousand",
        "million",
        "billion",
        "half",
        "dozen",
        "first",
        "second",
        "third",
    ]
)
_MONTHS = frozenset(
    [
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "century",
    ]
)
_ASKS_WHEN = re.compile(r"\bwhen\b|\bwhat (?:year|date|day|month|decade|century|time)\b", re.I)
_ASKS_NUMBER = re.compile(
    r"\bhow (?:many|much|long|old|far|tall|high|large|big|deep|wide|fast|often)\b"
    r"|\bwhat (?:percent\w*|number|amount|population|price|size|age)\b",
    re.I,
)
_ASKS_NAME = re.compile(
    r"\bwho\b|\bwhom\b|\bwhose\b|\bwhere\b|\bwhat (?:city|country|place|state|town)\b", re.I
)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of passage `passage` (from 1), the `place`-th there; `score` says how well it fits
    the question. `said` is the text, of a row with the names of its columns.
    """

    text: str
    passage: int
    place: int
    score: float
    said: str = ""
    start: int = 0  # in the passage
    end: int = 0
    values: tuple[float, ...] = field(default=(), repr=False)  # of `VALUES`


def rank_sentences(
    question: str,
    passages: Sequence[Passage],
    embed: Embed,
    rarity: Mapping[str, float],
) -> tuple[Sentence, ...]:
    """The sentences of the best passages, the one that fits best first.

    Args:
        rarity: how much each word of the question tells, by word; missing ones weigh 1.
    """
    asked: dict[str, float] = {}
    for word in query_words(question):
        asked[stem(word)] = max(asked.get(stem(word), 0.0), rarity.get(word, 1.0))
    places = [
        (number, place, part)
        for number, passage in enumerate(passages[:MAX_PASSAGES], 1)
        for place, part in enumerate(parts_of(passage.text, passage.table_head))
    ][:MAX_SENTENCES]
    if not places or not asked:
        return ()
    said = [part.said for _, _, part in places]
    vectors = embed([question, *said])
    cosines = (vectors[1:] @ vectors[0]).tolist()
    shares = _Shares(asked, places, passages)
    aligned = alignment_of(question, said, embed)
    found = []
    for i, (number, place, part) in enumerate(places):
        values = (
            *shares.of(i),
            cosines[i],
            passages[number - 1].similarity,
            _holds_what_is_asked(question, part.said),
            *aligned[i].tolist(),
        )
        score, span = float(WEIGHTS @ values), (part.start, part.end)
        found.append(Sentence(part.text, number, place, score, part.said, *span, values))
    return tuple(sorted(found, key=lambda sentence: -sentence.score))


class _Shares:
    """Which share of the question's words stands only in the sentence before one, and in its
    passage.
    """

    def __init__(
        self,
        asked: Mapping[str, float],
        places: Sequence[tuple[int, int, Part]],
        passages: Sequence[Passage],
    ) -> None:
        self._asked, self._total = asked, sum(asked.values()) or 1.0
        self._words = [stems_held(part.said) for _, _, part in places]
        self._numbers = [number for number, _, _ in places]
        self._whole = {
            number: self._share(stems_held(passages[number - 1].with_heading))
            for number in set(self._numbers)
        }

    def of(self, i: int) -> tuple[float, float]:
        own = self._words[i]
        has_before = i > 0 and self._numbers[i - 1] == self._numbers[i]
        before = self._words[i - 1] - own if has_before else set()
        return self._share(before), self._whole[self._numbers[i]]

    def _share(self, words: set[str]) -> float:
        return sum(weight for word, weight in self._asked.items() if word in words) / self._total


def stems_of(text: str) -> set[str]:
    """Stems of the telling words of a text."""
    return {stem(word) for word in query_words(text, most=None)}


def stems_held(text: str) -> set[str]:
    """Stems of all words that a text can be found by."""
    return {stem(word) for word in search_words(text).split()}


def _holds_what_is_asked(question: str, sentence: str) -> float:
    """1 where a sentence holds something of the kind that is asked for and that the question does
    not hold, -1 where not, else 0.
    """
    known = {word.casefold() for word in re.findall(r"\w+", question)}
    new = [word for word in re.findall(r"\w+", sentence) if word.casefold() not in known]
    if _ASKS_WHEN.search(question):
        holds = any(word.isdigit() or word.casefold() in _MONTHS for word in new)
    elif _ASKS_NUMBER.search(question):
        holds = any(word[0].isdigit() or word.casefold() in _NUMBER_WORDS for word in new)
    elif _ASKS_NAME.search(question):
        holds = any(word[0].isupper() for word in new[1:])
    else:
        return 0.0
    return 1.0 if holds else -1.0


def said_in(answer: str, question: str) -> tuple[set[str], set[str]]:
    """What an answer adds to the question: stems of its telling words, and its numbers."""
    asked = stems_of(question)
    numbers = set(_NUMBER.findall(answer)) - set(_NUMBER.findall(question))
    words = {word for word in stems_of(answer) - asked if not word[0].isdigit()}
    return words, numbers


def only_repeats(answer: str, question: str) -> bool:
    """Whether an answer holds nothing that the question does not, where this offers no choice
    ("a or b").
    """
    return not any(said_in(answer, question)) and "or" not in question.casefold().split()


def unsupported(answer: str, question: str, quotes: Sequence[str]) -> tuple[str, ...]:
    """Numbers and telling words of an answer that stand in no quote and not in the question."""
    words, numbers = said_in(answer, question)
    held = set().union(*(stems_held(quote) for quote in quotes)) if quotes else set()
    held_numbers = {number for quote in quotes for number in _NUMBER.findall(quote)}
    missing = [word for word in sorted(words) if word not in held]
    return (*sorted(numbers - held_numbers), *missing)


def choose_quotes(
    question: str, answer: str, sentences: Sequence[Sentence], most: int = 2
) -> tuple[Sentence, ...]:
    """The sentences that support an answer best: the first holds most of what it says, the next
    only what the first lacks.
    """
    words, numbers = said_in(answer, question)
    left = {*words, *numbers}
    chosen: list[Sentence] = []
    while len(chosen) < most:
        others = [sentence for sentence in sentences if sentence not in chosen]
        if chosen:  # a further one must add something
            others = [sentence for sentence in others if _share_of(left, sentence.said) > 0]
        if not others:
            break
        chosen.append(max(others, key=lambda s: s.score + SUPPORT * _share_of(left, s.said)))
        left -= {*stems_held(chosen[-1].said), *_NUMBER.findall(chosen[-1].said)}
    return tuple(chosen)


def widened(
    quote: Sentence,
    question: str,
    answer: str,
    sentences: Sequence[Sentence],
    passages: Sequence[Passage],
) -> Sentence:
    """A quote together with the sentence beside it that holds most of what it lacks of an answer;
    as it is where none holds any.
    """
    words, numbers = said_in(answer, question)
    left = {*words, *numbers} - {*stems_held(quote.said), *_NUMBER.findall(quote.said)}
    beside = [
        s for s in sentences if s.passage == quote.passage and abs(s.place - quote.place) == 1
    ]
    best = max(beside, key=lambda s: _share_of(left, s.said), default=None)
    if best is None or not _share_of(left, best.said):
        return quote
    first, last = sorted((quote, best), key=lambda s: s.place)
    text = shown(passages[quote.passage - 1].text[first.start : last.end])
    if len(text) > MAX_JOINED:
        return quote
    said = text if first.said == first.text else f"{first.said} {last.said}"
    return replace(quote, text=text, said=said, start=first.start, end=last.end)


def _share_of(said: set[str], sentence: str) -> float:
    held = said & {*stems_held(sentence), *_NUMBER.findall(sentence)}
    return len(held) / max(1, len(said))


def rarity_of(counts: Mapping[str, int], total: int) -> dict[str, float]:
    """How much a word tells: the logarithm of how rare it is among `total` chunks."""
    return {word: math.log(1 + total / (1 + count)) for word, count in counts.items()}
