"""Macros in cards and lorebooks: `{{char}}`, `{{user}}`, `{{random:a,b}}`, `{{pick:a,b}}`, `{{roll:d20}}`, comments and others.

Expansion is one pass from the inside out: what a macro gives is never read again, so a user called `{{random:a}}` stays so.
All chance comes from the seed; the same seed, turn and text give the same result. Unknown macros stay as they are.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

MAX_DEPTH = 16
MAX_ROLL = 10**9
MAX_DICE = 100
_LEGACY = re.compile(r"<(user|bot|char)>", re.IGNORECASE)
_ESCAPED_COMMA = "\ue000"  # private use: stands for `\,` while a list is split


@dataclass(slots=True)
class MacroContext:
    """What macros may know. `values` are further names (`persona`, `scenario` …) and what stands for them.

    `is_scan` is set while lorebook keys are looked for: there a hidden key is read and a comment is not.
    """

    char: str = ""
    user: str = "User"
    original: str | None = None  # in a card's own system prompt: the prompt that it replaces
    values: Mapping[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    seed: int = 0
    turn: int = 0
    is_scan: bool = False
    draws: int = 0  # of `random` and `roll` so far, so that two of them differ

    def chance(self, *words: object) -> random.Random:
        text = "\0".join(str(word) for word in (self.seed, *words))
        return random.Random(
            int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:8], "big")
        )


def expand(text: str, context: MacroContext) -> str:
    """The text with every known macro replaced."""
    expanded, _ = _expand(text, 0, context, 0)
    return expanded


def _expand(text: str, at: int, context: MacroContext, depth: int) -> tuple[str, int]:
    """Expands from `at` to the `}}` that closes this level (or the end); returns the text and where it went on to."""
    out: list[str] = []
    while at < len(text):
        if depth and text.startswith("}}", at):
            return "".join(out), at
        if text.startswith("{{", at) and depth < MAX_DEPTH:
            inner, end = _expand(text, at + 2, context, depth + 1)
            if end >= len(text):  # never closed: plain text
                out.append("{{" + inner)
                return "".join(out), end
            result = _replace(inner, text[at + 2 : end], at, context)
            out.append("{{" + inner + "}}" if result is None else result)
            at = end + 2
            continue
        match = _LEGACY.match(text, at) if text[at] == "<" else None
        if match:
            out.append(context.user if match[1].lower() == "user" else context.char)
            at = match.end()
            continue
        stop = min((i for i in (text.find(c, at + 1) for c in "{}<") if i > 0), default=len(text))
        out.append(text[at:stop])
        at = stop
    return "".join(out), at


def _replace(body: str, source: str, at: int, context: MacroContext) -> str | None:
    """What `{{body}}` stands for, None when nobody knows; `source` is the body before its own macros were replaced."""
    word = body.strip()
    if word.startswith("//"):
        return ""
    name, separator, rest = word.partition(":")
    name = name.strip().lower()
    if separator:
        return _with_arguments(name, rest.removeprefix(":"), source, at, context)
    if name == "char":
        return context.char
    if name == "user":
        return context.user
    if name == "original" and context.original is not None:
        return context.original
    if name in ("trim", "noop"):
        return ""
    if name == "newline":
        return "\n"
    return context.values.get(name)


def _with_arguments(
    name: str, rest: str, source: str, at: int, context: MacroContext
) -> str | None:
    function = _FUNCTIONS.get(name)
    return None if function is None else function(rest, source, at, context)


def _choices(rest: str) -> list[str]:
    separator = "::" if "::" in rest else ","
    return [
        item.replace(_ESCAPED_COMMA, ",").strip()
        for item in rest.replace("\\,", _ESCAPED_COMMA).split(separator)
    ]


def _random(rest: str, source: str, at: int, context: MacroContext) -> str:
    context.draws += 1
    return context.chance("random", context.turn, context.draws, rest).choice(_choices(rest))


def _pick(rest: str, source: str, at: int, context: MacroContext) -> str:
    return context.chance("pick", source, at).choice(
        _choices(rest)
    )  # neither turn nor draws: the same in every prompt


def _roll(rest: str, source: str, at: int, context: MacroContext) -> str | None:
    match = re.fullmatch(r"\s*(\d{0,3})[dD](\d{1,9})\s*|\s*(\d{1,9})\s*", rest)
    if match is None:
        return None
    dice, sides = int(match[1] or 1), int(match[2] or match[3])
    if not 1 <= sides <= MAX_ROLL or not 1 <= dice <= MAX_DICE:
        return None
    context.draws += 1
    chance = context.chance("roll", context.turn, context.draws, rest)
    return str(sum(chance.randint(1, sides) for _ in range(dice)))


def _set(rest: str, source: str, at: int, context: MacroContext) -> str:
    name, _, value = rest.partition("::")
    context.variables[name.strip()] = value
    return ""


def _add(rest: str, source: str, at: int, context: MacroContext) -> str:
    name, _, value = rest.partition("::")
    old = context.variables.get(name.strip(), "0")
    is_number = re.fullmatch(r"-?\d{1,15}", old.strip()) and re.fullmatch(
        r"-?\d{1,15}", value.strip()
    )
    context.variables[name.strip()] = str(int(old) + int(value)) if is_number else old + value
    return ""


_FUNCTIONS: dict[str, Callable[[str, str, int, MacroContext], str | None]] = {
    "random": _random,
    "pick": _pick,
    "roll": _roll,
    "reverse": lambda rest, source, at, context: rest[::-1],
    "hidden_key": lambda rest, source, at, context: rest if context.is_scan else "",
    "comment": lambda rest, source, at, context: "",
    "setvar": _set,
    "addvar": _add,
    "getvar": lambda rest, source, at, context: context.variables.get(rest.strip(), ""),
}
