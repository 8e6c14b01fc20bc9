"""The same letters, harder to match for a filter and often still plain for a reader."""

from __future__ import annotations

import re
import unicodedata

from understudy.judge.redteam.converters.base import Converter, by_letters

# Latin letters and what looks like them in other scripts (Unicode's confusables.txt has them all;
# these are the plainest).
CONFUSABLES = {
    "a": "а",
    "c": "с",
    "e": "е",
    "i": "і",
    "j": "ј",
    "o": "о",
    "p": "р",
    "s": "ѕ",
    "x": "х",
    "y": "у",
    "A": "А",
    "B": "В",
    "C": "С",
    "E": "Е",
    "H": "Н",
    "I": "І",
    "J": "Ј",
    "K": "К",
    "M": "М",
    "O": "О",
    "P": "Р",
    "S": "Ѕ",
    "T": "Т",
    "X": "Х",
}
LEET = {"a": "4", "e": "3", "i": "1", "o": "0", "s": "5", "t": "7", "b": "8", "g": "9"}
ZERO_WIDTH = "\u200b"
_TAGS = 0xE0000  # the block of invisible tag characters that mirrors ASCII
_MARKS = ("\u0335", "\u0323", "\u030a")  # stroke, dot below, ring above


def _leet(text: str) -> str:
    return by_letters({**LEET, **{letter.upper(): digit for letter, digit in LEET.items()}})(text)


def _fullwidth(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


def _bold(text: str) -> str:
    """The mathematical bold letters and digits."""
    out = []
    for c in text:
        base = (
            0x1D41A - 97
            if "a" <= c <= "z"
            else 0x1D400 - 65
            if "A" <= c <= "Z"
            else 0x1D7CE - 48
            if "0" <= c <= "9"
            else 0
        )
        out.append(chr(ord(c) + base))
    return "".join(out)


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _zero_width(text: str) -> str:
    return ZERO_WIDTH.join(text)


def _tagged(text: str) -> str:
    return "".join(chr(_TAGS + ord(c)) if " " <= c <= "~" else c for c in text)


def _untagged(text: str) -> str:
    return "".join(chr(ord(c) - _TAGS) if _TAGS + 32 <= ord(c) <= _TAGS + 126 else c for c in text)


def _marked(text: str) -> str:
    return "".join(c + "".join(_MARKS) if c.isalnum() else c for c in text)


def _unmarked(text: str) -> str:
    return "".join(c for c in text if c not in _MARKS)


def _spaced(text: str) -> str:
    """A blank between letters, three between words."""
    return "   ".join(" ".join(word) for word in text.split(" "))


def _unspaced(text: str) -> str:
    return " ".join(word.replace(" ", "") for word in text.split("   "))


def _hyphenated(text: str) -> str:
    return re.sub(r"(?<=\w)(?=\w)", "-", text)


def _reversed_words(text: str) -> str:
    return " ".join(reversed(text.split(" ")))


def _alternating(text: str) -> str:
    return "".join(c.upper() if i % 2 else c.lower() for i, c in enumerate(text))


def _without_vowels(text: str) -> str:
    """Vowels inside of words become stars."""
    return re.sub(r"(?<=\w)[aeiouAEIOU](?=\w)", "*", text)


def _pig_latin(text: str) -> str:
    def turned(match: re.Match[str]) -> str:
        start, rest = match.group(1), match.group(2)
        return f"{rest}{start}ay" if start else f"{rest}way"

    return re.sub(r"\b([^\W\d_aeiouAEIOU]*)([^\W\d_]+)\b", turned, text)


_KIND = "disguise"
_PLAIN = {other: letter for letter, other in CONFUSABLES.items()}
DISGUISES = (
    Converter("leetspeak", _KIND, "digits for letters: l3375p34k", _leet),
    Converter(
        "confusables",
        _KIND,
        "Cyrillic letters that look Latin",
        by_letters(CONFUSABLES),
        by_letters(_PLAIN),
        "ascii",
    ),
    Converter(
        "fullwidth", _KIND, "the wide letters of East Asian sets", _fullwidth, _compatible, "ascii"
    ),
    Converter("bold", _KIND, "mathematical bold letters", _bold, _compatible, "ascii"),
    Converter(
        "zero-width",
        _KIND,
        "an invisible character between letters",
        _zero_width,
        lambda text: text.replace(ZERO_WIDTH, ""),
        "ascii",
    ),
    Converter(
        "invisible-tags",
        _KIND,
        "all of it in invisible tag characters",
        _tagged,
        _untagged,
        "ascii",
    ),
    Converter(
        "combining-marks", _KIND, "strokes and dots on every letter", _marked, _unmarked, "ascii"
    ),
    Converter("spaced", _KIND, "a blank between letters", _spaced, _unspaced, "letters"),
    Converter(
        "hyphenated",
        _KIND,
        "a hyphen between letters",
        _hyphenated,
        lambda text: text.replace("-", ""),
        "letters",
    ),
    Converter(
        "reversed",
        _KIND,
        "from the end to the beginning",
        lambda text: text[::-1],
        lambda text: text[::-1],
    ),
    Converter("reversed-words", _KIND, "the last word first", _reversed_words, _reversed_words),
    Converter("alternating-case", _KIND, "sMaLl aNd bIg", _alternating),
    Converter("starred-vowels", _KIND, "st*rs for v*w*ls", _without_vowels),
    Converter("pig-latin", _KIND, "igpay atinlay", _pig_latin),
)
