"""What a conversation holds for an argument: its numbers, days and runs of words, as keywords of a
JSON Schema.

    said = SaidValues("50 of them at 5 % in Oslo on May 3rd 2022")
    said.number("rate", {"type": "number"})                            # {"enum": [50, 0.05, …]}
    said.text("date", {"description": "in the format YYYY-MM-DD"})     # {"enum": ["2022-05-03"]}
    said.text("city", {})                                              # {"enum": ["Oslo", …]}
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from understudy.generation.message.dates import date_keywords, date_places, write_date
from understudy.generation.message.described import (
    choices_of,
    defaults_of,
    has_own_form,
    is_place,
    is_region,
    labels_of,
)
from understudy.generation.message.spoken import default_of, examples_of
from understudy.generation.message.values import NUMBER_WORDS
from understudy.generation.message.words import content_words, words_of

MAX_RUN = 10  # words of a value that is not quoted
MAX_RUNS = 1000
MAX_WORDS = 400  # of a conversation, the newest, that values may be copied from
_NUMBER = re.compile(
    r"(?<![\w.])(?P<number>-?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?)"
    r"(?P<unit>[kK]\b|\s?(?:%|percent\b|thousand\b|million\b|billion\b|°?[a-zA-Z]{1,4}\b|°)?)"
    r"(?!\w)",
    re.ASCII,  # "10个" is a number too
)
_SCALE = {"thousand": 1000, "k": 1000, "million": 10**6, "billion": 10**9, "dozen": 12}
_WORD_NUMBERS = {word: number for number, word in enumerate(NUMBER_WORDS)}
_WORD_NUMBERS |= {"once": 1, "twice": 2, "dozen": 12, "hundred": 100, "single": 1, "both": 2}
_WORD_NUMBERS |= {"quarterly": 4, "monthly": 12, "annually": 1, "yearly": 1, "weekly": 52}
_PERCENT = re.compile(r"%|percent", re.IGNORECASE)
_DATE = re.compile(r"(?<![a-z])dates?(?![a-z])", re.IGNORECASE)
_DATE_PART = re.compile(r"(?<![a-z])(?:year|month|day)(?![a-z])", re.IGNORECASE)
_NO_STARTS = frozenset(  # words with which no value begins
    """the a an of and or is are was to for with I i you me my please can could what do does it that
    this by as at on be will would have has if then also""".split()  # noqa: SIM905
)
_WORD = re.compile(r"\S+")
_EDGE = ".,;:!?()[]{}\"'“”‘’`"
_BREAK = re.compile(r"[\"“”`\n]|(?<!\w)['‘]|['’](?!\w)")
_QUOTED = re.compile(r"\"([^\"\n]+)\"|“([^”\n]+)”|(?<!\w)'([^'\n]+)'(?!\w)|`([^`\n]+)`")
_SENTENCE = re.compile(r"[^\n.?!]+(?:[.?!]+(?=\S)[^\n.?!]+)*[.?!]?")
_INNER_CAPITAL = re.compile(r"(?<=[a-z,;] )[A-HJ-Z]")
_REGION_NAME = r"^[^\s\d\"{}<>\[\]][^\d\"{}<>\[\]]{1,28}$"
# Scripts that put no blanks between words (Thai to Khmer, kana, Han): a run of words is a clause.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")
_COMPLETED = "(?:, [A-Z][A-Za-z. ]{1,18})?"  # a state or country that the conversation leaves out


class SaidValues:
    """What was said, newest last."""

    def __init__(self, text: str) -> None:
        words = [match.start() for match in _WORD.finditer(text)]
        self._said = text[words[-MAX_WORDS] :] if len(words) > MAX_WORDS else text

    def number(self, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The numbers that a parameter may have; {} where there is none."""
        described = str(schema.get("description", ""))
        said = content_words(self._said)
        labels = labels_of(described).items()
        if labelled := [number for number, words in labels if words and words <= said]:
            return {"enum": labelled}
        is_whole = schema.get("type") == "integer"
        is_share = not is_whole and not _PERCENT.search(_without_examples(f"{name} {described}"))
        found = [_as_share(n) if is_percent and is_share else n for n, is_percent in self._numbers]
        fitting = [int(n) if is_whole else n for n in found if not is_whole or n == int(n)]
        usual = [_number(default)] if _is_number(default := default_of(schema) or "") else []
        return {"enum": list(dict.fromkeys([*fitting, *usual]))} if fitting else {}

    def text(self, name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
        """What a text may be; {} where it has a form of its own."""
        described = str(schema.get("description", ""))
        if (days := date_keywords(described, self._said)) is not None:
            return days
        if choices := choices_of(described):
            return {"enum": self._named(choices) or list(choices)}
        if _UNSPACED.search(self._said):
            return {}
        if is_place(described):
            return self._place(self._runs_for(name, described))
        if has_own_form(f"{name} {described}"):
            return {}
        if is_region(name):
            return {"pattern": _REGION_NAME}
        runs = self._runs_for(name, described)
        told = [*self._named(examples_of(described)), *defaults_of(schema)]
        return {"enum": list(dict.fromkeys([*runs, *told]))} if runs else {}

    def _runs_for(self, name: str, described: str) -> list[str]:
        """The runs of words that a parameter may have; dates in them are whole."""
        told = f"{name} {described}"
        own, may_cut = frozenset(words_of(name)), _DATE_PART.search(told)
        runs = [
            run
            for run, is_whole in self._runs.items()
            if (is_whole or may_cut) and run.partition(" ")[0] not in own
        ]
        if _DATE.search(told):
            runs += [write_date(date, "YYYY-MM-DD") for _, _, date in date_places(self._said)]
        return runs

    def _place(self, runs: Sequence[str]) -> dict[str, Any]:
        great = [run for run in runs if run[0].isupper() or run[0].isdigit()]
        if not _INNER_CAPITAL.search(self._said):  # of somebody who writes no capitals
            great += [run.title() for run in runs]
        places = "|".join(re.escape(run) for run in dict.fromkeys(great))
        return {"pattern": f"^(?:{places}){_COMPLETED}$"} if places else {}

    def _named(self, values: Sequence[str]) -> list[str]:
        """Those of which every word was said."""
        said = content_words(self._said)
        return [value for value in values if (words := content_words(value)) and words <= said]

    @functools.cached_property
    def _numbers(self) -> list[tuple[float, bool]]:
        """The numbers as they are written, each with whether it is a percentage."""
        found: dict[float, tuple[float, bool]] = {}
        for match in _NUMBER.finditer(self._said):
            unit = match["unit"].strip().lower()
            number = _number(match["number"])
            is_degree = match["unit"] == " K"
            scaled = number if is_degree else number * _SCALE.get(unit, 1)
            found[match.start()] = scaled, unit in ("%", "percent")
            if match["unit"] == "K":  # thousands, or degrees
                found[match.start() + 0.5] = number, False
        for word in re.finditer(r"[a-z]+", self._said.lower()):
            if word[0] in _WORD_NUMBERS:
                found[word.start()] = _WORD_NUMBERS[word[0]], False
        return [found[at] for at in sorted(found)]

    @functools.cached_property
    def _runs(self) -> dict[str, bool]:
        """Runs of words that cross no quotation mark, what is quoted, and whole sentences; each
        with whether the dates in it are whole.
        """
        text, words = self._said, _words(self._said)
        dates = [(start, end) for start, end, _ in date_places(text)]
        found: dict[str, bool] = {}

        def add(start: int, end: int) -> None:
            run = text[start:end].strip()
            is_whole = all(end <= a or b <= start or start <= a <= b <= end for a, b in dates)
            for one in (run, re.sub(r"['’]s$", "", run)):
                found[one] = found.get(one, False) or is_whole

        length = max(1, min(MAX_RUN, MAX_RUNS // max(1, len(words))))
        for first, (start, end) in enumerate(words):
            if text[start:end] in _NO_STARTS:
                continue
            add(start, end)
            for before, after in itertools.pairwise(words[first : first + length]):
                if _BREAK.search(text, before[1], after[0]):
                    break
                add(start, after[1])
        for match in (*_QUOTED.finditer(text), *_SENTENCE.finditer(text)):
            inner = next((i for i, group in enumerate(match.groups(), 1) if group), 0)
            add(*match.span(inner))
        return {run: is_whole for run, is_whole in found.items() if run}


def _words(text: str) -> list[tuple[int, int]]:
    """Where words stand, without punctuation at their edges."""
    found = []
    for match in _WORD.finditer(text):
        core = match[0].strip(_EDGE)
        if core:
            start = match.start() + match[0].index(core)
            found.append((start, start + len(core)))
    return found


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(?:\.\d+)?", text) is not None


def _number(text: str) -> float:
    """Whole numbers without a point: what is written as 19.0 stays so."""
    bare = text.replace(",", "")
    if bare.lstrip("-").isdigit():
        return int(bare)
    number = float(bare)
    return int(number) if number.is_integer() and "e" in bare.lower() else number


def _as_share(percentage: float) -> float:
    return round(percentage / 100, 12)


def _without_examples(text: str) -> str:
    """A description without what it says by the way: "5% is 0.05" asks for no percentage."""
    return re.sub(r"\d+(?:\.\d+)?\s?%[^.]*", "", text)
