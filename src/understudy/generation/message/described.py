"""What the description of a parameter says of its values.

choices_of("The units, 'metric' or 'imperial'.")             # ("metric", "imperial"), all there are
labels_of("1 for cleaning service, 2 for ironing service")   # {1: {"clean"}, 2: {"iron"}}
has_own_form("The code to run")                              # not what somebody said
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from understudy.generation.message.words import content_words

_ONE = r"'[^'\n]{1,40}'"
_OR = r"\s*(?:,\s*(?:or\s|and\s)?|\s+or\s+|\s*/\s*)\s*"
_QUOTED_LIST = re.compile(rf"(?:between {_ONE} and |{_ONE}{_OR}){_ONE}(?:{_OR}{_ONE})*")
_CLOSED_BEFORE = re.compile(  # where a list of all values begins
    r"(?:\A|[(:,;.]|\b(?:be|is|are|either|of|in|options?|values|choices|supports?|choose|set to))"
    r":?\s*\Z",
    re.IGNORECASE,
)
_OPEN_BEFORE = re.compile(
    r"(?:such as|e\.?g\.?,?|like|example,?|examples:?|format(?:ted)?(?: of| as)?|includes?:?)"
    r"[\s(:]*\Z",
    re.IGNORECASE,
)
_OPEN_BEHIND = re.compile(r"[\s,]*(?:etc|and so on|and more|\.\.\.|…)", re.IGNORECASE)
_LABELLED = re.compile(  # "1 for cleaning service, '2' to ironing"
    r"'?(\d+)'?\s*(?:for|represents|represent|corresponds to|to|is|=|means)\s+(?:an? |the )?"
    r"([^,.;()]+)"
)
_DEFAULT = re.compile(r"\bdefaults?(?:\s+value)?\s*(?:is|to|:)?\s*'([^'\n]{1,40})'", re.IGNORECASE)
_FORM = re.compile(
    r"\bformat|in the form\b|expression|lambda|\bcode\b|command|query|\bsql\b|regex|\bfunction\b|"
    r"comma.separated|\bjson\b|translat|\bhtml\b|script|formula|equation|\bcoded?\b|abbreviat|"
    r"symbol|\biso\b|currenc|boolean",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"city,\s*(?:state|country)|city and (?:state|country)|"
    r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)*, [A-Z]{2}\b"
)
_REGION = re.compile(r"(?<![a-z])(?:state|country|province|nation|continent)(?![a-z])", re.I)


def choices_of(description: str) -> tuple[str, ...]:
    """The values that a description lists as all there are; () where it names examples or none."""
    for match in _QUOTED_LIST.finditer(description):
        before = description[max(0, match.start() - 30) : match.start()]
        is_led = match[0].startswith("between") or _CLOSED_BEFORE.search(before)
        is_open = not is_led or _OPEN_BEFORE.search(before)
        if not is_open and not _OPEN_BEHIND.match(description, match.end()):
            return tuple(re.findall(r"'([^']+)'", match[0]))
    return ()


def defaults_of(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """The text that is taken where nobody says one, if a schema or its description has it."""
    if isinstance(default := schema.get("default"), str):
        return (default,)
    return tuple(_DEFAULT.findall(str(schema.get("description", ""))))


def labels_of(description: str) -> dict[int, set[str]]:
    """The numbers that a description gives names to, and what tells each name from the others; {}
    for less than two.
    """
    found = {int(number): content_words(name) for number, name in _LABELLED.findall(description)}
    shared = set.intersection(*found.values()) if len(found) > 1 else set()
    return {number: words - shared for number, words in found.items()} if len(found) > 1 else {}


def has_own_form(description: str) -> bool:
    """Whether a text is written in a form that nobody says (code, a query, ISO's codes)."""
    return _FORM.search(description) is not None


def is_place(description: str) -> bool:
    """Whether a text is a city with what it belongs to ("Oslo, NO")."""
    return _PLACE.search(description) is not None


def is_region(name: str) -> bool:
    """Whether a parameter wants a country or the like, which a city or "German" may stand for."""
    return _REGION.search(name) is not None
