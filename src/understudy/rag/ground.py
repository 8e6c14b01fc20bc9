"""What was found for one question: passages as a model sees them, the form of its answer, and what
supports it. What is said below is the form `answer` of `AnswerSettings`.

The model answers in its own words, and the quotes are chosen afterwards: those sentences of the
passages that hold what it said. An answer that says more than they do is not given: then the
sentence that fits the question best is the answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from understudy.rag.abstain import confidence_of, features
from understudy.rag.cite import (
    MAX_ANSWER,
    MIN_QUOTE,
    NOT_SAID,
    Citation,
    answer_grammar,
    cite,
    parse_answer,
    shown,
)
from understudy.rag.identifiers import by_name, names_are_absent
from understudy.rag.operating_point import DEFAULT_POINT, OperatingPoint
from understudy.rag.sentences import (
    Sentence,
    choose_quotes,
    only_repeats,
    rank_sentences,
    rarity_of,
    unsupported,
    widened,
)
from understudy.rag.settings import AnswerSettings
from understudy.rag.store import Passage
from understudy.rag.words import query_words
from understudy.spec import ModelSpec
from understudy.text.embed import Embedder

SYSTEM = "Answer the question in a few words, with what the passages say."
QUOTES_FIRST = "Quote the sentences of the passages that answer the question, then answer it."
OR_SAY_SO = f" If they do not hold the answer, say: {NOT_SAID}"
WHOLE = AnswerSettings(excerpts=False, may_abstain=False)
NUM_EXCERPTS = 6  # most sentences that a model sees which is not shown whole passages
NEAR_BEST = 1.5  # how far below the best sentence's score another is still shown
MAX_SHORT = 16  # telling words of an answer of which each must stand in a quote
_QUOTED = re.compile(rf'["“”«»„]([^"“”«»„]{{{MIN_QUOTE},400}})["“”«»„]')
_NUMBERS_OF_PASSAGES = re.compile(r"\s*\[\d+\](?=[\s.,;]|$)")


class SearchedIndex(Protocol):
    """What finding passages needs of an `Index`."""

    @property
    def embedder(self) -> Embedder: ...

    def search(self, question: str, k: int) -> Sequence[Passage]: ...

    def count_words(self, words: Sequence[str]) -> tuple[dict[str, int], int]: ...


@dataclass(frozen=True, slots=True)
class PassageGrounding:
    """Passages for one question, the best first. Where a method takes a `count`, the rest found no
    room in the prompt.

    `sentences` are theirs, the one that fits the question best first. The model sees the best
    `num_shown` of them, or the whole passages where that is None.
    """

    passages: tuple[Passage, ...]
    confidence: float
    point: OperatingPoint = DEFAULT_POINT
    question: str = ""
    sentences: tuple[Sentence, ...] = field(default=(), repr=False)
    settings: AnswerSettings = WHOLE
    num_shown: int | None = None

    @property
    def is_enough(self) -> bool:
        return bool(self.passages) and self.confidence >= self.point.threshold

    @property
    def instructions(self) -> str:
        system = SYSTEM if self.settings.form == "answer" else QUOTES_FIRST
        return system + (OR_SAY_SO if self.settings.may_abstain else "")

    @property
    def contexts(self) -> list[str]:
        """The passages as the model sees them, numbered from 1."""
        if self.num_shown is None:
            return contexts_of(self.passages)
        shown_of: dict[int, list[Sentence]] = {}
        for sentence in self.sentences[: self.num_shown]:
            shown_of.setdefault(sentence.passage, []).append(sentence)
        return [
            f"[{number}] {_heading(self.passages[number - 1])}"
            + _as_shown(sorted(chosen, key=lambda s: s.place))
            for number, chosen in sorted(shown_of.items())
        ]

    def for_model(
        self, spec: ModelSpec, settings: AnswerSettings | None = None
    ) -> PassageGrounding:
        """As a model of this shape is to see it, and may answer."""
        settings = (settings or AnswerSettings()).for_model(spec)
        if not settings.excerpts or settings.form == "quotes" or not self.sentences:
            return replace(self, settings=settings)
        near = self.sentences[0].score - NEAR_BEST
        most = sum(sentence.score > near for sentence in self.sentences[:NUM_EXCERPTS])
        return replace(self._excerpt(most), settings=settings)

    def _excerpt(self, most: int) -> PassageGrounding:
        """The passages of the best sentences alone, numbered anew."""
        kept = sorted({sentence.passage for sentence in self.sentences[:most]})
        number_of = {old: new for new, old in enumerate(kept, 1)}
        return replace(
            self,
            passages=tuple(self.passages[old - 1] for old in kept),
            sentences=tuple(
                replace(s, passage=number_of[s.passage])
                for s in self.sentences
                if s.passage in number_of
            ),
            num_shown=most,
        )

    def second_try(self, raw: str, count: int) -> PassageGrounding | None:
        """With half of the sentences, once, where an answer says more than its quotes hold."""
        fewer = (self.num_shown or 0) // 2
        if not fewer or not self.settings.asks_again or not self.missing(raw, count):
            return None
        return replace(self, sentences=self.sentences[:fewer])._excerpt(fewer)

    def grammar(self, count: int, spec: ModelSpec) -> str:
        """The form of an answer, in llguidance's Lark: a paragraph that does not begin with a
        passage's number, or quotes and then the answer.
        """
        may_abstain, most = bool(self.settings.may_abstain), self.settings.max_quotes
        if self.settings.form == "quotes":
            shown_passages = self.passages[:count]
            return answer_grammar(shown_passages, max_quotes=most, may_abstain=may_abstain)
        or_not = f" | {json.dumps(NOT_SAID)}" if may_abstain else ""
        return f"start: ANSWER{or_not}\nANSWER: /[^\\s\\[][^\\n]{{0,{MAX_ANSWER}}}/"

    def missing(self, answer: str, count: int) -> tuple[str, ...]:
        """What an answer says and no quote holds; of a long one its numbers only, and all of one
        that only repeats the question. Nothing where answers are not to be checked.
        """
        if self.settings.form == "quotes" or not self.settings.is_checked:
            return ()
        return self._missing(answer, self._chosen(answer, count))

    def read(self, raw: str, count: int) -> tuple[str | None, tuple[Citation, ...]]:
        """An answer and the quotes that hold it; None where the documents do not say."""
        if self.settings.form == "quotes":
            parsed = parse_answer(raw, self.passages[:count])
            return parsed.text, parsed.citations
        text = _NUMBERS_OF_PASSAGES.sub("", raw).strip().removeprefix("Answer: ").strip('"“” ')
        if not text or text.startswith(NOT_SAID.rstrip(".")):
            return None, ()
        chosen = self._chosen(text, count)
        if self.sentences and self.settings.is_checked and self._missing(text, chosen):
            chosen = tuple(s for s in self.sentences if s.passage <= count)[:1]
            text = chosen[0].said if chosen else text
        found = (cite(s.text, s.passage, self.passages[:count]) for s in chosen)
        return text, tuple(citation for citation in found if citation is not None)

    def quotes(self, text: str, count: int) -> tuple[Citation, ...]:
        found = []
        for match in _QUOTED.finditer(text):
            places = (cite(match[1], number, self.passages) for number in range(1, count + 1))
            found += [citation for citation in places if citation is not None][:1]
        return tuple(found)

    def _chosen(self, answer: str, count: int) -> tuple[Sentence, ...]:
        seen = [s for s in self.sentences if s.passage <= count]
        chosen = choose_quotes(self.question, answer, seen, self.settings.max_quotes)
        if self.settings.max_quotes > 1 or not chosen:
            return chosen
        return (widened(chosen[0], self.question, answer, seen, self.passages),)

    def _missing(self, answer: str, quotes: Sequence[Sentence]) -> tuple[str, ...]:
        if only_repeats(answer, self.question):
            return (answer,)
        said = unsupported(answer, self.question, [sentence.said for sentence in quotes])
        if len(query_words(answer, most=None)) > MAX_SHORT:
            return tuple(word for word in said if word[0].isdigit())
        return said


def contexts_of(passages: Sequence[Passage]) -> list[str]:
    """Passages as the model sees them, numbered from 1."""
    return [
        f"[{i}] {_heading(passage)}{_head_of_table(passage)}{shown(passage.text)}"
        for i, passage in enumerate(passages, 1)
    ]


def ground(
    index: SearchedIndex,
    question: str,
    *,
    k: int = 8,
    point: OperatingPoint = DEFAULT_POINT,
    spec: ModelSpec | None = None,
    settings: AnswerSettings | None = None,
) -> PassageGrounding:
    """Searches an index for one question; with `spec` the result is as a model of that shape sees
    it.
    """
    passages = tuple(index.search(question, k)) if question.strip() else ()
    if not passages:
        return PassageGrounding((), 0.0, point, question)
    counts, total = index.count_words(query_words(question))
    rarity = rarity_of(counts, total)
    ranked = rank_sentences(question, passages, index.embedder.embed, rarity)
    sentences = by_name(question, ranked)
    sure = confidence_of(features(question, passages, sentences, rarity))
    if names_are_absent(question, passages):
        sure = 0.0
    found = PassageGrounding(passages, sure, point, question, sentences)
    return found if spec is None else found.for_model(spec, settings)


def _as_shown(sentences: Sequence[Sentence]) -> str:
    """Sentences behind one another; rows of tables and items, which end in no mark, parted."""
    return " ".join(
        sentence.said if sentence.said == sentence.text else f"({sentence.said})"
        for sentence in sentences
    )


def _head_of_table(passage: Passage) -> str:
    return f"{shown(passage.table_head)} " if passage.table_head else ""


def _heading(passage: Passage) -> str:
    return f"({shown(passage.chunk.heading)}) " if passage.chunk.heading else ""
