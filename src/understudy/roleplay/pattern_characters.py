"""Characters of JavaScript's regular expressions: escapes, properties and classes, read and written
out as sets.

The lower half of `patterns.py`, which reads the grammar around them (ECMAScript 2024, 22.2.1 with
Annex B.1.2).
"""

from __future__ import annotations

import re

from understudy.roleplay.charsets import DIGITS, WHITE, WORDS, Ranges, Sets
from understudy.roleplay.javascript import to_utf16

_PROPERTY = re.compile(
    r"[pP]\{(?:(General_Category|gc|Script|sc|Script_Extensions|scx)=)?([A-Za-z_]+)\}"
)
_CODE_POINT = re.compile(r"\{([0-9a-fA-F]+)\}")
_NAMES = """L Lu Ll Lt LC Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So
Z Zs Zl Zp C Cc Cf Co Cn"""
_CATEGORIES = frozenset(_NAMES.split())
_CASED = frozenset(["Lu", "Ll", "Lt"])


class UntranslatableError(ValueError):
    """A pattern that JavaScript takes and that has no sound translation; the text says why."""


class PatternSyntaxError(ValueError):
    """What JavaScript refuses too."""


class Characters:
    """A place in the source of a pattern, and the reading of single characters and of classes
    there.
    """

    def __init__(self, source: str, flags: str) -> None:
        self.is_unicode, self.ignores_case = "u" in flags, "i" in flags
        self.source = source if self.is_unicode else to_utf16(source)
        self.sets = Sets(self.is_unicode, self.ignores_case)
        self.at = 0

    def _peek(self, text: str) -> bool:
        return self.source.startswith(text, self.at)

    def _take(self, text: str) -> bool:
        if self._peek(text):
            self.at += len(text)
            return True
        return False

    def _shorthand(self, char: str) -> Ranges:
        ranges = {"d": DIGITS, "w": WORDS, "s": WHITE}[char.lower()]
        ranges = self.sets.close(ranges) if char.lower() == "w" and self.is_unicode else ranges
        return ranges if char.islower() else self.sets.complement(ranges)

    def _property(self) -> str:
        match = _PROPERTY.match(self.source, self.at)
        if match is None:
            raise PatternSyntaxError("invalid property")
        name, value = match[1], match[2]
        if name in (None, "General_Category", "gc"):
            if value not in _CATEGORIES:
                raise UntranslatableError(f"\\p{{{value}}} is not known here")
            if self.ignores_case and value in _CASED:
                raise UntranslatableError(f"\\p{{{value}}} with the flag i is not known here")
            body = "L&" if value == "LC" else value
        else:
            body = f"{'scx' if name in ('Script_Extensions', 'scx') else 'Script'}={value}"
        self.at = match.end()
        return f"\\{match[0][0]}{{{body}}}"

    def _character(self, *, is_class: bool) -> int:
        """The code of one escaped character; the place stands after the backslash."""
        char = self.source[self.at]
        self.at += 1
        if char in "fnrtv" or (char == "b" and is_class):
            return {"f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "b": 8}[char]
        if char == "-" and is_class and self.is_unicode:
            return ord(char)
        if char == "c":
            return self._control(is_class=is_class)
        if char == "x" and (code := self._hex(2)) is not None:
            return code
        if char == "u" and (code := self._unicode()) is not None:
            return code
        if char in "01234567" and not self.is_unicode:
            return self._octal(char)
        if char == "0" and not self.source[self.at : self.at + 1].isdigit():
            return 0
        if self.is_unicode and char not in "^$\\.*+?()[]{}|/":
            raise PatternSyntaxError("invalid escape")
        return ord(char)

    def _control(self, *, is_class: bool) -> int:
        letter = self.source[self.at : self.at + 1]
        allowed = letter.isascii() and (
            letter.isalpha()
            or (is_class and not self.is_unicode and (letter.isdigit() or letter == "_"))
        )
        if letter and allowed:
            self.at += 1
            return ord(letter) % 32
        if self.is_unicode:
            raise PatternSyntaxError("invalid control")
        self.at -= 1  # a lone \c is a backslash and a c
        return ord("\\")

    def _hex(self, length: int) -> int | None:
        digits = self.source[self.at : self.at + length]
        if len(digits) == length and re.fullmatch(r"[0-9a-fA-F]+", digits):
            self.at += length
            return int(digits, 16)
        return None

    def _unicode(self) -> int | None:
        if self.is_unicode and (
            match := re.compile(r"\{([0-9a-fA-F]+)\}").match(self.source, self.at)
        ):
            if len(match[1]) > 12 or int(match[1], 16) > 0x10FFFF:
                raise PatternSyntaxError("code point out of range")
            self.at = match.end()
            return int(match[1], 16)
        high = self._hex(4)
        if high is None or not self.is_unicode or not 0xD800 <= high < 0xDC00:
            return high
        start = self.at
        if self._take("\\u") and (low := self._hex(4)) is not None and 0xDC00 <= low < 0xE000:
            return 0x10000 + ((high - 0xD800) << 10) + low - 0xDC00
        self.at = start
        return high

    def _octal(self, first: str) -> int:
        match = re.compile(r"[0-7]{0,2}" if first in "0123" else r"[0-7]?").match(
            self.source, self.at
        )
        assert match is not None
        self.at = match.end()
        return int(first + match[0], 8)

    def _class(self) -> str:
        is_negated = self._take("^")
        ranges: Ranges = []
        properties = ""
        while not self._take("]"):
            low, text = self._class_atom()
            properties += text
            if not isinstance(low, int):
                ranges += low
            if self._peek("-") and not self._peek("-]"):
                high, text = self._class_range(low)
                ranges += [(low, high)] if isinstance(low, int) and isinstance(high, int) else []
                properties += text
            elif isinstance(low, int):
                ranges.append((low, low))
        return self.sets.text(self.sets.close(ranges), is_negated=is_negated, more=properties)

    def _class_range(self, low: int | Ranges) -> tuple[int | None, str]:
        """What follows `low-`; a range where both ends are characters, otherwise the hyphen is
        one.
        """
        start = self.at
        self.at += 1
        high, text = self._class_atom()
        if isinstance(low, int) and isinstance(high, int):
            if low > high:
                raise PatternSyntaxError("range out of order")
            return high, text
        if self.is_unicode:
            raise PatternSyntaxError("invalid range")
        raise UntranslatableError(
            f"a hyphen beside a class of characters: {self.source[start : self.at]}"
        )

    def _class_atom(self) -> tuple[int | Ranges, str]:
        if self.at >= len(self.source):
            raise PatternSyntaxError("unterminated class")
        if not self._take("\\"):
            self.at += 1
            return ord(self.source[self.at - 1]), ""
        if self.at >= len(self.source):
            raise PatternSyntaxError("\\ at the end")
        char = self.source[self.at]
        if char in "dDwWsS":
            self.at += 1
            return self._shorthand(char), ""
        if char in "pP" and self.is_unicode:
            return [], self._property()
        return self._character(is_class=True), ""
