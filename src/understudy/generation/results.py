"""An answer held against the results that it tells: its figures are theirs, none of them is left
out, and an error is told.

    check = ResultCheck([("price", "4 apples cost 8 silver coins.")], "What do 4 apples cost?")
    check.fault("They cost 9 coins.")     "9 stands in no result"
    check.mended("They cost 9 coins.")    "4 apples cost 8 silver coins."

An answer with a fault is written once more; if that has one too, the results speak for themselves.
Where an answer only has to be free of foreign numbers (`is_complete` false), nothing is added to
it. Rounded figures, sums and differences of two of them, percents of a share and numbers of the
conversation are right; number words are not looked at. The words that tell of an error, and names,
are looked for in English alone.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.generation.message.words import content_words, is_foreign

MAX_FIGURES = 200  # of the results, beyond which sums are not tried
SHORT = 12  # words of a result whose figures are what it says
MAX_SHOWN = 400  # characters of a result that stands in the answer as it is
_NUMBER = re.compile(r"(?<![A-Za-z\d_.])[-−]?\d[\d,]*(?:\.\d+)?")
_NUMBERING = re.compile(r"^\s*\d{1,2}[.)]\s", re.MULTILINE)
_NAME = re.compile(r"(?<=[a-z,;] )[A-Z][a-z]{2,}")
_FAILED = re.compile(
    r"\b(?:error|fail|could ?n[o']t|cannot|can'?t|unable|unavailable"
    r"|not (?:found|available|possible|allowed|work)"
    r"|invalid|sorry|problem|went wrong|timed? ?out|no (?:result|data)|refused)",
    re.IGNORECASE,
)
_ERROR = re.compile(r'\s*(?:\{\s*"error"\s*:|error\b|traceback\b)', re.IGNORECASE)


@dataclass(frozen=True)
class ResultCheck:
    """`results` are names of tools with what they gave, `said` is the conversation before them.

    `is_complete`: each result has to be told, names and errors are looked at; else numbers alone.
    """

    results: Sequence[tuple[str, str]]
    said: str
    is_complete: bool = True

    @classmethod
    def of_messages(
        cls, messages: Sequence[Mapping[str, Any]], *, is_complete: bool = True
    ) -> ResultCheck | None:
        """Of the results at the end of a conversation; None where there are none."""
        texts = [(str(m.get("role")), str(m.get("content") or "")) for m in messages]
        names: dict[Any, str] = {}
        for message in messages:
            for call in message.get("tool_calls") or ():
                names[call.get("id")] = str((call.get("function") or call).get("name") or "")
        first = next((i for i in range(len(texts), 0, -1) if texts[i - 1][0] != "tool"), 0)
        results = [
            (str(m.get("name") or names.get(m.get("tool_call_id")) or "result"), text)
            for m, (_, text) in zip(messages[first:], texts[first:], strict=True)
        ]
        said = "\n".join(text for _, text in texts[:first])
        return cls(results, said, is_complete) if results else None

    def fault(self, answer: str) -> str | None:
        """What is wrong with an answer, in a line; None: nothing."""
        if (number := self._invented(answer)) is not None:
            return f"{number} stands in no result"
        if not self.is_complete:
            return None
        if omitted := self._untold(answer):
            return f"the answer does not tell what {omitted[0][0]} gave"
        known = f"{self.said}\n{self._told}".lower()
        if not is_foreign(answer) and not is_foreign(self.said):
            for name in _NAME.findall(answer):
                if name.lower() not in known:
                    return f"{name} stands in no result"
        return None

    def mended(self, answer: str) -> str:
        """The answer with the results that it leaves out; all results alone where its figures are
        not theirs, or where it tells some of several without a word of what they are.
        """
        if not self.is_complete:
            return answer
        answer = answer.strip()
        untold = self._untold(answer)
        is_bare = 0 < len(untold) < len(self.results) and not self._names_any(answer)
        shown = self.results if is_bare or self._invented(answer) is not None else untold
        kept = "" if shown is self.results else answer
        lines = [_in_words(name, text) for name, text in shown]
        return "\n".join(line for line in (kept, *lines) if line)

    def _names_any(self, answer: str) -> bool:
        """Whether an answer says what its figures are of, in words of the results."""
        return is_foreign(answer) or bool(content_words(answer) & content_words(self._told))

    @property
    def _told(self) -> str:
        return "\n".join(text for _, text in self.results)

    def first_invented(self, answer: str, start: int = 0) -> int | None:
        """Where the first number at or behind `start` begins that comes from nowhere."""
        found = self._first_invented(answer, start)
        return None if found is None else found.start()

    def _invented(self, answer: str) -> str | None:
        found = self._first_invented(answer)
        return None if found is None else found[0]

    def _first_invented(self, answer: str, start: int = 0) -> re.Match[str] | None:
        if not self._figures and not self.is_complete:
            return None  # results without figures contradict none
        unnumbered = _NUMBERING.sub(lambda numbering: " " * len(numbering[0]), answer)
        for found in _NUMBER.finditer(unnumbered, start):
            if not _stands_in(found[0], self._known) and not self._is_derived(found[0]):
                return found
        return None

    # An answer that streams is looked at with each of its pieces, so numbers are read once.

    @functools.cached_property
    def _figures(self) -> list[float]:
        """The numbers of the results."""
        return _numbers(self._told)

    @functools.cached_property
    def _known(self) -> list[float]:
        """Those, and the numbers of the conversation before them."""
        return [*self._figures, *_numbers(self.said)]

    @functools.cached_property
    def _derived(self) -> list[float]:
        return _sums(self._figures) if len(self._figures) <= MAX_FIGURES else []

    def _is_derived(self, number: str) -> bool:
        return _stands_in(number, self._derived)

    def _untold(self, answer: str) -> list[tuple[str, str]]:
        """Results of which the answer tells nothing."""
        asked, words = set(_numbers(self.said)), content_words(answer)
        written = _NUMBER.findall(answer)
        foreign = is_foreign(answer) or is_foreign(self.said)
        omitted = []
        for name, text in self.results:
            figures = [number for number in _numbers(text) if number not in asked]
            new = content_words(text) - content_words(self.said)
            if _ERROR.match(text):
                is_told = foreign or bool(_FAILED.search(answer))
            elif figures:
                is_told = any(_stands_in(n, figures) or self._is_derived(n) for n in written)
                # of a long result words may be what was asked for
                is_told = is_told or (len(text.split()) > SHORT and len(new & words) > 1)
            else:
                is_told = foreign or not new or bool(new & words)
            if not is_told:
                omitted.append((name, text))
        return omitted


def _numbers(text: str) -> list[float]:
    return [value for number in _NUMBER.findall(text) if (value := _value(number)) is not None]


def _value(number: str) -> float | None:
    try:
        return float(number.replace(",", "").replace("−", "-"))
    except ValueError:
        return None


def _is_told(number: str, value: float) -> bool:
    """Whether a written number is a value, rounded as it is written; a share as percents too."""
    written = _value(number)
    if written is None:
        return True
    decimals = len(number.partition(".")[2])
    step = 0.5000001 * 10.0**-decimals
    shown = (value, abs(value), 100 * value)
    return any(abs(written - one) <= step for one in shown) or (
        not decimals and written == int(value) != 0
    )


def _stands_in(number: str, values: Sequence[float]) -> bool:
    return any(_is_told(number, value) for value in values)


def _sums(figures: Sequence[float]) -> list[float]:
    pairs = itertools.combinations(figures, 2)
    return [sum(figures), *(x for a, b in pairs for x in (a + b, abs(a - b)))]


def _in_words(name: str, text: str) -> str:
    """A result as it may stand in an answer; an error as a sentence."""
    text = " ".join(text.split())
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, dict) and set(read) == {"error"}:
        return f"{name} failed: {read['error']}"
    if (
        isinstance(read, dict)
        and read
        and not any(isinstance(v, dict | list) for v in read.values())
    ):
        text = ", ".join(f"{key}: {value}" for key, value in read.items())
    if len(text) > MAX_SHOWN:
        text = text[:MAX_SHOWN].rstrip() + " …"
    is_sentence = text.endswith((".", "!", "?")) and len(text.split()) > 2
    return text if is_sentence else f"{name}: {text}"
