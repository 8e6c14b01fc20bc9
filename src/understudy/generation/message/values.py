"""The values that a message holds (numbers, names, quoted texts), and which of them the arguments
of a call have used.

    values = find_values("the weather in Oslo and Rome")      # Oslo, Rome
    used = used_by({"city": "Oslo"}, values)                  # [("city", (0,))]
    are_listed(text, values, 0, 1)                            # a list: nothing but "and" between
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy.generation.message.words import stem

NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    *("nineteen", "twenty"),
)
_WORD_NUMBERS = {word: float(number) for number, word in enumerate(NUMBER_WORDS)}
_NUMBER = re.compile(
    r"(?<![\w.])-?\d+(?:,\d{3})*(?:\.\d+)?(?:%|(?:st|nd|rd|th)\b)?|\b(?:"
    + "|".join(NUMBER_WORDS[1:])
    + r")\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"\"[^\"]{1,80}\"|(?<!\w)'[^']{1,80}'(?!\w)|“[^”]{1,80}”")
_INNER = r"\s+(?:of|the|de|la)\s+(?=[A-Z])|\s+"
_NAME = re.compile(rf"\b[A-Z][\w.\-]*(?:['’]s)?(?:{_INNER})?(?:[A-Z][\w.\-]*(?:{_INNER})?)*")
_NO_NAMES = frozenset(  # words that are great because a sentence begins with them
    """I The A An What Can Could How Find Calculate Get Please Also Then After Finally Lastly First
    Second Third And Who Where When Which Is Are Do Does Give Tell Show For In On At If It My You We
    They He She Imagine As Provide Compute Determine Book Additionally Would Next Moreover
    Furthermore""".split()  # noqa: SIM905 - as a list of literals it reads worse
)
_BETWEEN = re.compile(  # two values of one list
    r"\s*(?:,|;|/|&|and|or|vs\.?|versus|then|as well as|,\s*(?:and|or|then)|(?:and|or)\s+"
    r"(?:the|for|in|of|a|from|to|with|on)|,\s*(?:and|or)?\s*(?:for|in|the|of|on|to|from|a))\s*",
    re.IGNORECASE,
)
_OPENS_SENTENCE = re.compile(r"(?:\A|[.?!:;\n]\s)[\s\"'“]*\Z")
_REGION = re.compile(r"[A-Z]{2,3}|(?:[A-Z]\.){2,3}")
_JOINED = re.compile(r"&|\b(?:and|or|vs|versus|then)\b|as well as", re.IGNORECASE)
_NEIGHBOUR = re.compile(r"[^\W\d_]+|[$€£%]")
_ISO_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)")
_REACH = 25  # characters in which a neighbour is looked for
CURRENCIES = "$€£"


@dataclass(frozen=True, slots=True)
class Value:
    """`text` is what stands at `start` to `end` without quotation marks; `before` and `after` are
    the stems of the words (or signs) beside it.
    """

    start: int
    end: int
    text: str
    kind: str  # number, name or quoted
    number: float | None = None
    before: str = ""
    after: str = ""

    def is_alike(self, other: Value) -> bool:
        """Whether both may be values of one parameter."""
        return (self.kind == "number") == (other.kind == "number")

    def has_unit_of(self, other: Value) -> bool:
        if self.kind != "number" or other.kind != "number":
            return False
        is_unit = self.after not in ("", "and", "or") and self.after == other.after
        return is_unit or (self.before in (*CURRENCIES,) and self.before == other.before)

    def stands_as(self, other: Value) -> bool:
        """Whether the same word leads to both."""
        return self.before == other.before and self.before not in ("", "and", "or", "the", "a")


def find_values(text: str) -> list[Value]:
    """The values in their order; none lies in another."""
    found: list[Value] = []
    for kind, pattern in (("quoted", _QUOTED), ("number", _NUMBER), ("name", _NAME)):
        for match in pattern.finditer(text):
            start, end = match.start(), match.start() + len(match[0].rstrip())
            if kind == "name":
                start, end = _name_place(text, start, end)
            if start < end and not any(v.start < end and start < v.end for v in found):
                found.append(_value(text, start, end, kind))
    return _with_places(text, sorted(found, key=lambda value: value.start))


def _with_places(text: str, values: list[Value]) -> list[Value]:
    """The values with "Miami, Florida" and "Berkeley, CA" as one each."""
    found: list[Value] = []
    for i, value in enumerate(values):
        is_behind = (
            i > 0
            and value.kind == values[i - 1].kind == "name"
            and text[values[i - 1].end : value.start] == ", "
        )
        if is_behind and (_REGION.fullmatch(value.text) or not are_joined(text, values, i - 1, i)):
            found[-1] = _value(text, found[-1].start, value.end, "name")
        else:
            found.append(value)
    return found


def _name_place(text: str, start: int, end: int) -> tuple[int, int]:
    """Where a name stands, without the words that are only great because a sentence begins with
    them, and without the sentence's end.
    """
    words = [(start + w.start(), w[0]) for w in re.finditer(r"\S+", text[start:end])]
    if len(words) == 1 and _OPENS_SENTENCE.search(text, 0, start):
        words = []
    while words and words[0][1].removesuffix("'s") in _NO_NAMES:
        words = words[1:]
    start = words[0][0] if words else end
    is_stop = text[start:end].endswith(".") and text.count(".", start, end) == 1
    return start, end - int(is_stop)


def _value(text: str, start: int, end: int, kind: str) -> Value:
    before = _NEIGHBOUR.findall(text[max(0, start - _REACH) : start])
    after = _NEIGHBOUR.findall(text[end : end + _REACH])
    own = text[start:end]
    return Value(
        start,
        end,
        own.strip("\"'“” "),
        kind,
        _number(own) if kind == "number" else None,
        stem(before[-1].lower()) if before else "",
        stem(after[0].lower()) if after else "",
    )


def _number(text: str) -> float:
    word = text.lower()
    if word in _WORD_NUMBERS:
        return _WORD_NUMBERS[word]
    return float(re.sub(r",|%|(?:st|nd|rd|th)$", "", word))


def are_listed(text: str, values: Sequence[Value], first: int, last: int) -> bool:
    """Whether two values, by index, stand in one list of values, be it "Miami, Florida"."""
    low, high = min(first, last), max(first, last)
    return all(_is_between(text, values, i) for i in range(low, high))


def are_joined(text: str, values: Sequence[Value], first: int, last: int) -> bool:
    """As `are_listed`, of numbers, or with an "and" or "or" somewhere in the list."""
    low, high = min(first, last), max(first, last)
    if not are_listed(text, values, low, high):
        return False
    while high + 1 < len(values) and _is_between(text, values, high):
        high += 1
    is_joined = _JOINED.search(text, values[low].end, values[high].start)
    return values[low].kind == "number" or is_joined is not None


def _is_between(text: str, values: Sequence[Value], index: int) -> bool:
    """Whether nothing but what separates a list stands behind this value."""
    start, end = values[index].end, values[index + 1].start
    return _BETWEEN.fullmatch(text, start, end) is not None


def used_by(
    arguments: Mapping[str, Any], values: Sequence[Value], taken: Iterable[int] = ()
) -> list[tuple[str, tuple[int, ...]]]:
    """Each leaf of the arguments: its parameter, and the indices of the values that it holds.

    Args:
        taken: indices that earlier calls have used; of equal numbers one that is free is preferred.
    """
    known = set(taken)
    return [
        (name, tuple(_indices(leaf, values, known)))
        for name, argument in arguments.items()
        for leaf in leaves(argument)
    ]


def leaves(value: Any) -> Iterable[Any]:
    """What stands in lists and objects."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from leaves(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from leaves(inner)
    else:
        yield value


def _indices(leaf: Any, values: Sequence[Value], taken: set[int]) -> list[int]:
    if isinstance(leaf, bool) or leaf is None or leaf == "":
        return []
    if isinstance(leaf, (int, float)):
        hits = [i for i, v in enumerate(values) if v.number is not None and _is(v.number, leaf)]
        digits = [i for i in hits if not values[i].text.isalpha()] or hits
        return ([i for i in digits if i not in taken] or digits)[:1]
    said = str(leaf).lower()
    hits = [i for i, value in enumerate(values) if _is_part(value.text.lower(), said)]
    if not hits and (date := _ISO_DATE.match(said)):
        parts = (float(date[1]), float(date[3]))
        hits = [i for i, value in enumerate(values) if value.number in parts]
    return hits


def _is(number: float, argument: float) -> bool:
    """Whether an argument says a number, or its hundredth part: 5 % is 0.05."""
    return abs(number - argument) < 1e-9 or abs(number / 100 - argument) < 1e-9


def _is_part(text: str, said: str) -> bool:
    return text == said if len(text) < 2 else text in said or said in text
