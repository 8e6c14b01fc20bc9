"""What JavaScript makes of strings and numbers, for files that were written for programs in a
browser.

ECMAScript 2024: WhiteSpace and LineTerminator (12.2, 12.3), StringToNumber (7.1.4.1),
Number::toString (6.1.6.1.20).
"""

from __future__ import annotations

import math
import re

SPACES = "\t\n\v\f\r \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
SPACES += "\u2028\u2029\u202f\u205f\u3000\ufeff"
LINE_ENDS = "\n\r\u2028\u2029"
_DECIMAL = re.compile(r"[+-]?(?:Infinity|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", re.ASCII)
_PREFIXED = re.compile(r"0(?:[xX][0-9a-fA-F]+|[oO][0-7]+|[bB][01]+)")
_MAX_DIGITS = 1000  # of a number in a text; more is no number that anybody wrote by hand


def trim(text: str) -> str:
    return text.strip(SPACES)


def split_words(text: str) -> list[str]:
    """As `text.split(/\\s+/)`: blanks at an end make an empty word there."""
    return re.split(f"[{SPACES}]+", text)


def to_number(text: str) -> float:
    """As `Number(text)`; NaN where it is none."""
    word = trim(text)
    if not word:
        return 0.0
    if len(word) > _MAX_DIGITS:
        return math.nan
    if _PREFIXED.fullmatch(word):
        return float(int(word, 0))
    if _DECIMAL.fullmatch(word) is None:
        return math.nan
    return float(word.replace("Infinity", "inf"))


def number_text(value: float) -> str:
    """As `String(value)`: the shortest digits that read back as the same number."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "0"
    sign, mantissa = ("-" if value < 0 else ""), repr(abs(value))
    digits, exponent = _digits_of(mantissa)
    if len(digits) <= exponent <= 21:
        return sign + digits + "0" * (exponent - len(digits))
    if 0 < exponent <= 21:
        return f"{sign}{digits[:exponent]}.{digits[exponent:]}"
    if -6 < exponent <= 0:
        return f"{sign}0.{'0' * -exponent}{digits}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{exponent - 1:+d}"


def _digits_of(mantissa: str) -> tuple[str, int]:
    """The significant digits of Python's shortest form, and where the point stands before them."""
    whole, _, power = mantissa.partition("e")
    left, _, right = whole.partition(".")
    right = "" if right == "0" else right
    digits = (left + right).lstrip("0")
    leading = len(left + right) - len(digits)
    exponent = len(left) - leading + int(power or 0)
    return digits.rstrip("0"), exponent


def to_utf16(text: str) -> str:
    """The text with every character beyond U+FFFF as its two surrogates, as JavaScript counts."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    units = text.encode("utf-16-le", "surrogatepass")
    return "".join(map(chr, memoryview(units).cast("H")))
