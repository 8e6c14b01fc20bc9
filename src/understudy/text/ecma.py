"""Patterns of ECMAScript, which is what JSON Schema and JavaScript write, as patterns of `regex`.

ECMA-262, 16th edition, section 22.2, with its annex B: `$` is the end alone, `.` stops at four line
ends, `\\d`, `\\w` and `\\b` know ASCII, `\\s` all blanks, `[^]` is anything, `\\p{L}` and
`(?<name>…)` are known.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

_WORD = "A-Za-z0-9_"
_BLANK = r"\t\n\v\f\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
_RUST_BLANK = re.sub(r"\\u(....)", r"\\x{\1}", _BLANK)
_RUST_ESCAPES = "bBcdDfknpPrtuvwWx"  # that mean the same, or what is refused there
_SETS = {"d": "0-9", "w": _WORD, "s": _BLANK}
_BOUNDARY = f"(?:(?<=[{_WORD}])(?![{_WORD}])|(?<![{_WORD}])(?=[{_WORD}]))"
_INSIDE = f"(?:(?<=[{_WORD}])(?=[{_WORD}])|(?<![{_WORD}])(?![{_WORD}]))"
_CONTROLS = {"t": r"\t", "n": r"\n", "v": r"\v", "f": r"\f", "r": r"\r", "0": r"\x00"}


@functools.lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """The pattern, compiled; `.search(text)` is what `RegExp.test` does.

    Raises:
        ValueError: it is no pattern, with the reason.
    """
    import regex

    try:
        return regex.compile(translated(pattern), regex.VERSION1)
    except (regex.error, IndexError, OverflowError) as error:
        raise ValueError(str(error) or "it ends too early") from None


def translated(pattern: str) -> str:
    """The pattern as `regex` writes it.

    Raises:
        IndexError: it ends too early.
    """
    return "".join(_pieces(pattern))


@functools.lru_cache(maxsize=1024)
def for_grammar(pattern: str) -> str:
    """The pattern in the syntax of Rust's `regex`, which llguidance reads: what that means
    otherwise is written out, all else stays as it is.
    """
    return "".join(_rust_pieces(pattern))


def _rust_pieces(pattern: str) -> Iterator[str]:
    at, is_set = 0, False
    while at < len(pattern):
        letter, after = pattern[at], pattern[at + 1 : at + 2]
        if letter == "\\" and after:
            yield _rust_escape(after, is_set)
            at += 2
            continue
        if is_set:
            is_set = letter != "]"
            yield "\\" + letter if letter in "[&~" or (letter, after) == ("-", "-") else letter
        elif letter == "[":
            is_set = not pattern.startswith("[]", at)
            yield letter
        else:
            yield r"[^\n\r\x{2028}\x{2029}]" if letter == "." else letter
        at += 1


def _rust_escape(letter: str, is_set: bool) -> str:
    if letter == "s":
        return _RUST_BLANK if is_set else f"[{_RUST_BLANK}]"
    if letter == "S":
        return f"[^{_RUST_BLANK}]"
    is_itself = letter.isascii() and letter.isalpha() and letter not in _RUST_ESCAPES
    return letter if is_itself else "\\" + letter


def _pieces(pattern: str) -> Iterator[str]:
    at, is_set = 0, False
    while at < len(pattern):
        letter = pattern[at]
        if letter == "\\":
            piece, at = _escape(pattern, at + 1, is_set)
            yield piece
            continue
        if is_set:
            is_set = letter != "]"
            yield "\\" + letter if letter in "[&|~" else letter
        elif letter == "[":
            empty = next((text for text in ("[^]", "[]") if pattern.startswith(text, at)), None)
            if empty is not None:
                yield r"[\s\S]" if empty == "[^]" else "(?!)"
                at += len(empty)
                continue
            is_set = True
            yield letter
        else:
            yield {"$": r"(?![\s\S])", ".": r"[^\n\r\u2028\u2029]"}.get(letter, letter)
        at += 1


def _escape(pattern: str, at: int, is_set: bool) -> tuple[str, int]:
    """What stands for the escape whose letter is at `at`, and where it ends."""
    letter, after = pattern[at], at + 1
    if letter.lower() in _SETS:
        inverse, members = "^" if letter.isupper() else "", _SETS[letter.lower()]
        return (members if is_set and not inverse else f"[{inverse}{members}]"), after
    if letter in "bB":
        return (r"\x08" if is_set else _BOUNDARY if letter == "b" else _INSIDE), after
    if letter in _CONTROLS and not (letter == "0" and pattern[after : after + 1].isdigit()):
        return _CONTROLS[letter], after
    if letter in "pP" and pattern[after : after + 1] == "{":
        end = pattern.index("}", after) + 1 if "}" in pattern[after:] else after
        return "\\" + pattern[at:end], end
    if letter == "k" and pattern[after : after + 1] == "<" and ">" in pattern[after:]:
        end = pattern.index(">", after)
        return f"(?P={pattern[after + 1 : end]})", end + 1
    if (
        letter == "c"
        and pattern[after : after + 1].isascii()
        and pattern[after : after + 1].isalpha()
    ):
        return f"\\x{ord(pattern[after]) % 32:02x}", after + 1
    if letter in "xu" and (found := _code_point(pattern, at)) is not None:
        return f"\\U{found[0]:08x}", found[1]
    return (letter if letter.isalpha() or letter == "/" else "\\" + letter), after


def _code_point(pattern: str, at: int) -> tuple[int, int] | None:
    """The character of `xHH`, `uHHHH` (two of them for one beyond the first plane) or `u{H…}`."""
    if pattern.startswith("u{", at) and "}" in pattern[at:]:
        start, end = at + 2, pattern.index("}", at)
        after = end + 1
    else:
        start = at + 1
        end = after = start + (2 if pattern[at] == "x" else 4)
    code = _hex(pattern[start:end])
    if code is None or end > len(pattern) or code > 0x10FFFF:
        return None
    if 0xD800 <= code < 0xDC00 and pattern.startswith("\\u", after):
        low = _hex(pattern[after + 2 : after + 6])
        if low is not None and 0xDC00 <= low < 0xE000:
            return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), after + 6
    return code, after


def _hex(digits: str) -> int | None:
    return (
        int(digits, 16) if digits and all(d in "0123456789abcdefABCDEF" for d in digits) else None
    )
