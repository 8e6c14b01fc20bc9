"""Macros in cards and lorebooks: `{{char}}`, `{{random::a::b}}`, `{{if x}}…{{/if}}`, `{{.mood =
sad}}` and all of SillyTavern's.

expand("{{char}} greets {{user}}.", MacroContext("Hilde", "Ada"))

The rules are those of SillyTavern's macro engine (1.19.0). Arguments are expanded before a macro
that takes them; what a macro gives is never read again, so a user called `{{random::a}}` stays so.
All chance comes from the seed: the same seed, turn and text give the same result. A macro that
nobody knows stays as it is, and `MacroContext.warnings` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from understudy.roleplay.javascript import trim
from understudy.roleplay.macro_context import MacroContext
from understudy.roleplay.macro_grammar import Call, dedented, read_calls
from understudy.roleplay.macro_list import MACROS, Arguments, is_whole
from understudy.roleplay.macro_operators import operate
from understudy.roleplay.macro_variables import MacroError

__all__ = ["MacroContext", "expand"]

MAX_DEPTH = 32  # of macros inside macros
_LEGACY = re.compile(r"<(user|bot|char|group|charifnotgroup)>", re.IGNORECASE)
_LEGACY_NAMES = {"bot": "char"}
_LEGACY_TIME = re.compile(r"\{\{time_(UTC[+-]\d{1,9})\}\}", re.IGNORECASE)
_TRIM = re.compile(r"\{\{trim\}\}", re.IGNORECASE)


def expand(text: str, context: MacroContext) -> str:
    """The text with every known macro replaced."""
    if "{" not in text and "<" not in text:
        return text
    text = _LEGACY_TIME.sub(r"{{time::\1}}", text)
    text = _LEGACY.sub(lambda match: _marker(match[1].lower()), text)
    return _finished(_Expansion(context).text(text, 0, 0))


def _marker(name: str) -> str:
    return f"{{{{{_LEGACY_NAMES.get(name, name)}}}}}"


def _finished(text: str) -> str:
    """Escaped braces become braces, and `{{trim}}` takes the line ends round it away."""
    text = text.replace("\\{", "{").replace("\\}", "}")
    pieces = _TRIM.split(text)
    for i, piece in enumerate(pieces):
        if i:
            piece = _without_line_ends(piece, at_start=True)
        pieces[i] = piece if i == len(pieces) - 1 else _without_line_ends(piece, at_start=False)
    return "".join(pieces)


def _without_line_ends(text: str, *, at_start: bool) -> str:
    start, end = 0, len(text)
    if at_start:
        while text.startswith(("\n", "\r\n"), start):
            start += 1 if text[start] == "\n" else 2
        return text[start:]
    while end and text[end - 1] == "\n":
        end -= 2 if text[end - 2 : end - 1] == "\r" else 1
    return text[:end]


class _Expansion:
    """One text under way, with the macros inside its macros."""

    def __init__(self, context: MacroContext) -> None:
        self.context = context

    def text(self, text: str, offset: int, depth: int, *, can_hold: bool = True) -> str:
        """Expands; `offset` is where the text stands in the whole, which `pick` depends on."""
        if depth > MAX_DEPTH or "{{" not in text:
            return text
        out, at = [], 0
        for call in read_calls(text, may_hold if can_hold else None):
            out += [text[at : call.start], self._call(text, call, offset, depth)]
            at = call.closing.end if call.closing is not None else call.end
        return "".join([*out, text[at:]])

    def _call(self, text: str, call: Call, offset: int, depth: int) -> str:
        if call.scope:
            value = call.arguments[0] if call.arguments else (0, 0)
            return operate(call, self.context, lambda: self._short(text, value, offset, depth))
        macro = MACROS.get(call.name.lower())
        if call.is_text:
            return text[call.start : call.end]
        if macro is None:
            return self._as_it_stands(text, call, offset, depth)
        if macro.is_delayed:
            given = [text[start:end] for start, end in call.arguments]
        else:
            given = [self._part(text, span, offset, depth) for span in call.arguments]
        if call.closing is not None:
            given.append(self._held(text, call, offset, depth, is_raw=macro.is_delayed))
        fits = macro.least <= len(given) and (macro.most is None or len(given) <= macro.most)
        if fits and all(is_whole(given[i]) for i in macro.wholes if i < len(given)):
            try:
                return macro.give(
                    Arguments(given, call, offset + call.start, self._resolver(depth)), self.context
                )
            except MacroError as error:
                self.context.warn(f"{{{{{call.name}}}}}: {error}")
        if macro.is_delayed:
            return text[call.start : call.closing.end if call.closing is not None else call.end]
        return self._as_it_stands(text, call, offset, depth)

    def _short(self, text: str, span: tuple[int, int], offset: int, depth: int) -> str:
        """The value behind an operator, in which nothing stands between two macros."""
        part = text[span[0] : span[1]]
        return trim(self.text(part, offset + span[0], depth + 1, can_hold=False))

    def _part(self, text: str, span: tuple[int, int], offset: int, depth: int) -> str:
        return self.text(text[span[0] : span[1]], offset + span[0], depth + 1)

    def _held(self, text: str, call: Call, offset: int, depth: int, *, is_raw: bool) -> str:
        """What stands between a macro and its closing one."""
        assert call.closing is not None
        span = (call.end, call.closing.start)
        if is_raw:
            return text[span[0] : span[1]]
        held = self._part(text, span, offset, depth)
        return held if "#" in call.flags else dedented(held)

    def _resolver(self, depth: int) -> Callable[[str], str]:
        def resolve(text: str) -> str:
            return _finished(self.text(text, 0, depth + 1))

        return resolve

    def _as_it_stands(self, text: str, call: Call, offset: int, depth: int) -> str:
        """The macro itself, with those inside it expanded."""
        if call.name and call.name.lower() not in MACROS:
            self.context.warn(f"{{{{{call.name}}}}} is no macro that is known here, and stays")
        inside = self._part(text, (call.start + 2, call.end - 2), offset, depth)
        if call.closing is None:
            return f"{{{{{inside}}}}}"
        held = self._part(text, (call.end, call.closing.start), offset, depth)
        return f"{{{{{inside}}}}}{held}{text[call.closing.start : call.closing.end]}"


def may_hold(call: Call) -> bool:
    """Whether one more argument fits, which may then stand between the macro and its closing
    one.
    """
    macro = MACROS.get(call.name.lower())
    if macro is None:
        return True
    number = len(call.arguments) + 1
    return macro.most is not None and macro.least <= number <= macro.most
