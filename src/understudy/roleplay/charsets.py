"""Sets of characters as JavaScript's regular expressions have them: ranges of codes, closed under
case where the flag `i` asks.

ECMAScript 2024, 22.2.2.7.3 Canonicalize: without the flag `u` two characters are equal if
`toUpperCase` makes the same single character of them (never an ASCII one of another); with it, if
simple case folding does.
"""

from __future__ import annotations

from functools import cache, lru_cache

from understudy.roleplay.javascript import LINE_ENDS, SPACES

Ranges = list[tuple[int, int]]
DIGITS: Ranges = [(48, 57)]
WORDS: Ranges = [(48, 57), (65, 90), (95, 95), (97, 122)]
WHITE: Ranges = [(ord(char), ord(char)) for char in SPACES]
LINE_TERMINATORS: Ranges = [(ord(char), ord(char)) for char in LINE_ENDS]


class Sets:
    """The sets of one pattern."""

    def __init__(self, is_unicode: bool, ignores_case: bool) -> None:
        self.is_unicode, self.ignores_case = is_unicode, ignores_case
        self.last = 0x10FFFF if is_unicode else 0xFFFF

    def close(self, ranges: Ranges) -> Ranges:
        """The set with all that the flag `i` holds for equal to its members."""
        if not self.ignores_case:
            return ranges
        return [pair for low, high in ranges for pair in _closed(self.is_unicode, low, high)]

    def complement(self, ranges: Ranges) -> Ranges:
        found: Ranges = []
        at = 0
        for low, high in _merged(ranges):
            if at < low:
                found.append((at, low - 1))
            at = high + 1
        return found + ([(at, self.last)] if at <= self.last else [])

    def text(self, ranges: Ranges, *, is_negated: bool = False, more: str = "") -> str:
        """The set as the `regex` library reads it; `more` are properties that it knows by name."""
        merged = _merged(ranges)
        if not merged and not more:
            return r"[\s\S]" if is_negated else r"(?!)"
        inside = "".join(
            _code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in merged
        )
        single = len(merged) == 1 and merged[0][0] == merged[0][1]
        return (
            inside
            if single and not is_negated and not more
            else f"[{'^' * is_negated}{inside}{more}]"
        )


def _code(code: int) -> str:
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _merged(ranges: Ranges) -> Ranges:
    found: Ranges = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


@lru_cache(maxsize=4096)
def _closed(is_unicode: bool, low: int, high: int) -> Ranges:
    """One range, and every family that has a member in it."""
    family_of = _families(is_unicode)
    found: Ranges = [(low, high)]
    for code in range(low, high + 1) if high - low < len(family_of) else family_of:
        if low <= code <= high and code in family_of:
            found += [(other, other) for other in family_of[code]]
    return found


@cache
def _families(is_unicode: bool) -> dict[int, list[int]]:
    """For each character that has equals without regard to case: all of them."""
    families: dict[str, list[int]] = {}
    for code in range(0x20000 if is_unicode else 0x10000):
        if not 0xD800 <= code < 0xE000:
            char = chr(code)
            same = _folded(char) if is_unicode else _uppered(char)
            families.setdefault(same, []).append(code)
    return {code: family for family in families.values() if len(family) > 1 for code in family}


def _uppered(char: str) -> str:
    upper = char.upper()
    return char if len(upper) != 1 or (upper.isascii() and not char.isascii()) else upper


def _folded(char: str) -> str:
    folded = char.casefold()
    return folded if len(folded) == 1 else char.lower() if len(char.lower()) == 1 else char
