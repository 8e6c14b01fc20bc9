"""Quotes that can be checked: a grammar whose quotes are spans of the given passages, and the way
from a quote back to its place.

The answer is forced into this form, ids enumerated and each quote a run of words of the very
passage it names:

    [2] "the light was built in 1812"
    Answer: It was built in 1812.

or the one line `The documents do not say.` White space of a passage is shown to the model as single
characters, one for one, so an offset in what it quotes is an offset in the document.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from understudy.rag.store import ChunkRow, Passage
from understudy.text.sentence_ends import sentence_spans

NOT_SAID = "The documents do not say."
MIN_QUOTE = 12  # characters; an empty quote is a span of everything
MAX_ANSWER = 600  # characters
_FULL_WIDTH = re.compile(r"[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff]")
_LINE = re.compile(r'\[(\d+)\] "(.*)"')


@dataclass(frozen=True, slots=True)
class Citation:
    """`quote` is `text[start:end]` of the document at `path`, white space included; `page` is
    counted from 1.
    """

    quote: str
    path: str
    start: int
    end: int
    page: int | None
    heading: str
    passage: int  # its number in the answer, from 1


@dataclass(frozen=True, slots=True)
class Parsed:
    """An answer taken apart; `text` is None where the documents do not say. `faults` lists quotes
    that stand nowhere.
    """

    text: str | None
    citations: tuple[Citation, ...]
    faults: tuple[str, ...] = ()


def shown(text: str) -> str:
    """A passage as the model sees it: each white space or control character one space, so that
    offsets stay.
    """
    if text.isprintable():  # the only white space in it is blanks
        return text
    return "".join(" " if c.isspace() or not c.isprintable() else c for c in text)


Spans = Literal["sentences", "words", "free"]


def answer_grammar(
    passages: Sequence[Passage],
    *,
    max_quotes: int = 2,
    may_abstain: bool = True,
    spans: Spans = "sentences",
) -> str:
    """The grammar of answers in llguidance's Lark.

    Args:
        spans: what a quote may be: whole sentences of the passage, so that little is left to choose
            and the rest is copied without asking the model; any run of its words; or any text, for
            measuring what the grammar is worth.
    """
    lines = [f"start: cited{' | ' + json.dumps(NOT_SAID) if may_abstain else ''}"]
    lines.append(
        "cited: "
        + "quote (quote)"
        + f"{{0,{max_quotes - 1}}} "
        + f'"Answer: " /[^\\n ][^\\n]{{0,{MAX_ANSWER}}}/'
    )
    lines.append("quote: " + " | ".join(f"quote_{i}" for i in range(1, len(passages) + 1)))
    for i, passage in enumerate(passages, 1):
        lines.append(f'quote_{i}: "[{i}] \\"" SPAN_{i} "\\"\\n"')
        lines.append(f"SPAN_{i}: {_span(passage.text, spans)}")
    return "\n".join(lines)


def _span(text: str, spans: Spans) -> str:
    if spans == "free":
        return "/[^\\n]{1,400}/"
    sentences = sentences_of(text) if spans == "sentences" else []
    if sentences:
        return " | ".join(json.dumps(sentence) for sentence in sentences)
    words = shown(text).strip()
    return f"/[^\\n]{{{min(MIN_QUOTE, len(words))},}}/ & %regex " + json.dumps(
        {"substring_words": words}
    )


def sentences_of(text: str) -> list[str]:
    """The sentences and lines of a passage as the model sees them, without headings and without
    those too short to say anything.
    """
    found: list[str] = []
    for line in text.splitlines():
        for start, end in sentence_spans(line):
            words = shown(line[start:end])
            is_long = quote_length(words) >= MIN_QUOTE
            if is_long and not words.startswith("#") and words not in found:
                found.append(words)
    return found


def quote_length(words: str) -> int:
    """In letters of English: a character of Chinese, Japanese or Korean says about as much as
    three.
    """
    return len(words) + 2 * len(_FULL_WIDTH.findall(words))


def parse_answer(text: str, passages: Sequence[Passage]) -> Parsed:
    """Takes an answer apart and holds every quote against its passage; a quote that does not stand
    there is a fault.
    """
    text = text.strip()
    if text == NOT_SAID or not text:
        return Parsed(None, ())
    citations, faults, rest = [], [], []
    for line in text.split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            rest.append(line)
            continue
        citation = cite(match[2], int(match[1]), passages)
        if citation is not None:
            citations.append(citation)
        elif match[2].strip():
            faults.append(line)
    answer = "\n".join(rest).removeprefix("Answer: ").strip()
    return Parsed(answer or None, tuple(dict.fromkeys(citations)), tuple(faults))


def cite(quote: str, number: int, passages: Sequence[Passage]) -> Citation | None:
    """The place of a quote in passage `number`, None if it does not stand there word for word."""
    words = quote.strip()
    if not 1 <= number <= len(passages) or not words:
        return None
    chunk = passages[number - 1].chunk
    at = shown(chunk.text).find(words)
    if at < 0:
        return None
    start = chunk.start + at
    return Citation(
        chunk.text[at : at + len(words)],
        chunk.path,
        start,
        start + len(words),
        _page(chunk, at),
        chunk.heading,
        number,
    )


def _page(chunk: ChunkRow, at: int) -> int | None:
    """The page on which the quote begins, where the chunk runs over a page's end."""
    return next((page for offset, page in reversed(chunk.later_pages) if offset <= at), chunk.page)
