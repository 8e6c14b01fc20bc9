"""Where in a reply a call may begin, told from as much of the text as is there.

An opening is a tag, a fence, or, at the reply's beginning, an object, a list or a tool's name with
a bracket. Of a text that may yet become one, as much is held back as that needs, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from understudy.generation.partial_json import PartialJson
from understudy.text.toolcalls import FENCE_LANGUAGES, OPENINGS, XML_OPENINGS

_TAGS = (*OPENINGS, *XML_OPENINGS)
_TAG = re.compile("|".join(map(re.escape, _TAGS)))
_FENCE = re.compile(r"```(?P<language>[^\n`]*)\n")
_UNFINISHED_FENCE = re.compile(r"`{1,2}\Z|```[^\n`]*\Z")
# The keys with which a call's object begins: an answer that is other JSON need not wait.
_KEYS = ("name", "function", "type", "id", "index", "arguments", "parameters")
_OBJECT = re.compile(r'\s*(?:\[\s*)?\{{1,2}\s*"(?:' + "|".join(_KEYS) + r')"')
_UNFINISHED_OBJECT = re.compile(r'\s*(?:\[\s*)?(?:\{{1,2}\s*(?:"(?P<key>\w*))?)?\Z')
_LIST_OF_CALLS = re.compile(r"\s*\[\s*(?P<name>[^\W\d][\w.]*)\(")
_UNFINISHED_LIST = re.compile(r"\s*\[\s*(?P<name>[^\W\d][\w.]*)\Z")

Kind = Literal["own", "tag", "fence", "bare", "passing"]


class Opening:
    """What may open calls. `length` is that of the opening itself, behind white space.

    `own` is a call of the template's own form, `passing` the begin or end of a fence without calls;
    the other kinds hold the text back until it is known what they are.
    """

    def __init__(self, kind: Kind, length: int = 0) -> None:
        self.kind, self.length = kind, length
        self._json = PartialJson() if kind == "bare" else None
        self._num_fed = 0
        self._is_settled = False

    def settle(self) -> None:
        """It holds a call: what follows it is held back too, and read at the end."""
        self._is_settled = True

    def end_in(self, text: str) -> int | None:
        """Where what it opened ends, in the text from it on; None where that is not known yet."""
        if self._is_settled:
            return None
        if self.kind == "fence":
            start = len(text) - len(text.lstrip()) + self.length
            end = text.find("```", start)
            return None if end < 0 else end + 3
        if self._json is None or not text.lstrip().startswith(("{", "[")):
            return None
        self._json.push(text[self._num_fed :])
        self._num_fed = len(text)
        return len(text) - len(self._json.rest) if self._json.is_done else None


def find_opening(
    text: str,
    own_form: str,
    names: Collection[str] | None,
    *,
    is_start: bool = False,
    is_fenced: bool = False,
) -> tuple[Opening | None, int]:
    """The first opening of a text, and where it stands; None, and how much is certain to be text.

    Args:
        own_form: what opens a call of the template's own form under a grammar; "" without one.
        names: the tools; None where they are not known.
        is_start: whether nothing but white space came before.
        is_fenced: whether the text goes on in a fence that holds no calls.
    """
    own = text.find(own_form) if own_form else -1
    if is_start and (own < 0 or text[:own].strip()):
        if own_form and own_form.lstrip().startswith(text.strip()):
            return None, 0
        if (may := _may_be_bare(text, names)) != "no":
            return (Opening("bare") if may == "yes" else None), 0
    found: list[tuple[int, Opening]] = []
    if own >= 0:
        found.append((own, Opening("own", len(own_form))))
    if match := _TAG.search(text):
        found.append((match.start(), Opening("tag", len(match[0]))))
    if is_fenced and (at := text.find("```")) >= 0:
        found.append((at, Opening("passing", 3)))
    elif not is_fenced and (match := _FENCE.search(text)):
        is_call = match["language"].strip() in FENCE_LANGUAGES
        found.append((match.start(), Opening("fence" if is_call else "passing", len(match[0]))))
    if found:
        at, opening = min(found, key=lambda one: one[0])
        return opening, at
    return None, len(text) - _num_unfinished(text, own_form)


def _may_be_bare(text: str, names: Collection[str] | None) -> Literal["yes", "no", "perhaps"]:
    """Whether a reply begins with a call that no tag announces."""
    begun = text.lstrip()
    if not begun:
        return "perhaps"
    if begun[0] in "{[":
        if _OBJECT.match(text):
            return "yes"
        if match := _LIST_OF_CALLS.match(text):
            return "yes" if names is None or match["name"] in names else "no"
        if match := _UNFINISHED_OBJECT.match(text):
            key = match["key"] or ""
            return "perhaps" if any(one.startswith(key) for one in _KEYS) else "no"
        return "perhaps" if _UNFINISHED_LIST.match(text) else "no"
    if any(begun.startswith(f"{name}(") for name in names or ()):
        return "yes"
    return "perhaps" if any(f"{name}(".startswith(begun) for name in names or ()) else "no"


def _num_unfinished(text: str, own_form: str) -> int:
    """How many characters at the end may be the beginning of an opening."""
    match = _UNFINISHED_FENCE.search(text)
    marks = (own_form, *_TAGS) if own_form else _TAGS
    longest = max(num_begun(text, mark) for mark in marks)
    return max(longest, len(match[0]) if match else 0)


def num_begun(text: str, mark: str) -> int:
    """The length of the end of a text that may be the beginning of a mark."""
    at = text.find(mark[0], max(0, len(text) - len(mark) + 1))
    while at >= 0:
        if mark.startswith(text[at:]):
            return len(text) - at
        at = text.find(mark[0], at + 1)
    return 0
