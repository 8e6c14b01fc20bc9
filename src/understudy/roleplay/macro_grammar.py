"""How macros are written: `{{name::argument::argument}}`, `{{.variable += 1}}`, `{{if
x}}…{{else}}…{{/if}}`.

The grammar of SillyTavern's macro engine (1.19.0, `public/scripts/macros/engine/`), read in time
linear in the text. Nothing is evaluated here: a text becomes the macros that stand in it, with the
places of their arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from understudy.roleplay.javascript import SPACES, trim

_BRACES = re.compile(r"\{\{|\}\}")
_NAME = re.compile(r"[a-zA-Z][\w-]*", re.ASCII)
_VARIABLE = re.compile(r"[a-zA-Z](?:[\w-]*\w)?", re.ASCII)
_AFTER_NAME = re.compile(rf"[{SPACES}:|}}]")
_FLAGS = "!?~#/>"
OPERATORS = (
    *("++", "--", "??=", "??", "||=", "||", "-=", "==", "!=", ">=", ">", "<=", "<", "+=", "="),
)
WITHOUT_VALUE = ("++", "--")
Span = tuple[int, int]


@dataclass(slots=True)
class Call:
    """One macro: where it stands, braces and all, and what it says. `name` is empty where nobody
    can read it.
    """

    start: int
    end: int
    name: str = ""
    flags: str = ""
    arguments: list[Span] = field(default_factory=list)
    scope: str = ""  # of a variable: `.` or `$`
    operator: str = ""
    closing: Call | None = None  # the macro `{{/name}}` that ends what this one is about
    is_text: bool = False  # stands as it is

    @property
    def is_closing(self) -> bool:
        return "/" in self.flags


def read_calls(text: str, may_hold: Callable[[Call], bool] | None) -> list[Call]:
    """The macros of a text that stand in no other, in their order, without those between an opening
    and its closing one.

    Args:
        may_hold: whether a macro takes what stands between it and its closing macro as one more
            argument; None: none does.
    """
    calls = [read_call(text, span) for span in spans(text)]
    if may_hold is not None:
        _pair(calls, may_hold)
    found, until = [], 0
    for call in calls:
        if call.start >= until:
            found.append(call)
            until = call.closing.end if call.closing is not None else call.end
    return found


def spans(
    text: str, start: int = 0, end: int | None = None, *, is_inside: bool = False
) -> list[Span]:
    """Where the outermost complete macros stand. Of three opening braces in plain text the first is
    a letter.
    """
    end = len(text) if end is None else end
    levels: list[list[Span]] = [[]]
    starts: list[int] = []
    at = start
    while (match := _BRACES.search(text, at, end)) is not None:
        at = match.end()
        if match[0] == "{{":
            if not starts and not is_inside and text.startswith("{", at):
                at = match.start() + 1
                continue
            starts.append(match.start())
            levels.append([])
        elif starts:
            levels.pop()
            levels[-1].append((starts.pop(), at))
    return [
        span for level in levels for span in level
    ]  # those in unclosed ones stand for themselves


def read_call(text: str, span: Span) -> Call:
    call = Call(*span)
    at, end = span[0] + 2, span[1] - 2
    while at < end:
        char = text[at]
        if text.startswith("//", at) and at + 2 <= end:
            call.name = "//"
            return _read_arguments(text, call, at + 2, end)
        if char in ".$":
            return _read_variable(text, call, at, end)
        if char in _FLAGS:
            call.flags += char
        elif char not in SPACES:
            break
        at += 1
    name = _NAME.match(text, at, end)
    if name is None:
        return call
    call.name = name[0]
    after = _AFTER_NAME.search(text, name.end(), end)  # what stands between is passed over
    return _read_arguments(text, call, after.start() if after else end, end)


def _read_arguments(text: str, call: Call, at: int, end: int) -> Call:
    at, end = trimmed(text, at, end)
    if at == end:
        return call
    if not text.startswith("::", at):
        call.arguments = [trimmed(text, at + text.startswith(":", at), end)]
    else:
        inside = spans(text, at, end, is_inside=True)
        at += 2
        for stop in [*_separators(text, at, end, inside), end]:
            call.arguments.append(trimmed(text, at, stop))
            at = stop + 2
    if call.name == "//" and text.startswith("/", call.arguments[0][0]):
        call.flags += "/"
    return call


def _separators(text: str, start: int, end: int, inside: Sequence[Span]) -> list[int]:
    """Where `::` stands outside of the inner macros."""
    found, at = [], start
    for low, high in [*inside, (end, end)]:
        while (place := text.find("::", at, low)) >= 0:
            found.append(place)
            at = place + 2
        at = max(at, high)
    return found


def _read_variable(text: str, call: Call, at: int, end: int) -> Call:
    """`.name` of the conversation or `$name` of all of them, and what is done with it."""
    scope = text[at]
    at, end = trimmed(text, at + 1, end)
    name = _VARIABLE.match(text, at, end)
    if name is None:
        call.scope = scope if at == end else ""
        return call
    at, _ = trimmed(text, name.end(), end)
    operator = next((word for word in OPERATORS if text.startswith(word, at, end)), "")
    rest = trimmed(text, at + len(operator), end)
    if (rest[0] < rest[1]) and (not operator or operator in WITHOUT_VALUE):
        return call
    call.scope, call.name, call.operator = scope, name[0], operator
    call.arguments = [rest] if operator and operator not in WITHOUT_VALUE else []
    return call


def trimmed(text: str, start: int, end: int) -> Span:
    while start < end and text[start] in SPACES:
        start += 1
    while end > start and text[end - 1] in SPACES:
        end -= 1
    return start, end


def _pair(calls: Sequence[Call], may_hold: Callable[[Call], bool]) -> None:
    """Gives each macro that may hold something the one that closes it; what is left over of both
    stands as it is.
    """
    waiting: dict[str, list[Call]] = {}
    refusing: dict[str, list[Call]] = {}
    for call in calls:
        if not call.name or call.scope:
            continue
        name = call.name.lower()
        if call.is_closing:
            if waiting.get(name):
                waiting[name].pop().closing = call
            else:
                call.is_text = True
                if refusing.get(name):
                    refusing[name].pop(0).is_text = True
        elif may_hold(call):
            waiting.setdefault(name, []).append(call)
        elif not waiting.get(name):
            refusing.setdefault(name, []).append(call)


def dedented(text: str) -> str:
    """Without blanks at both ends, and without the first line's indentation in all of them."""
    lines = text.split("\n")
    first = next((line for line in lines if trim(line)), "")
    indent = len(first) - len(first.lstrip(" \t"))
    if not indent:
        return trim(text)
    cut = [
        line[indent:] if len(line) - len(line.lstrip(" \t")) >= indent else trim_start(line)
        for line in lines
    ]
    return trim("\n".join(cut))


def trim_start(text: str) -> str:
    return text[len(text) - len(trim(text + "x")) + 1 :]
