"""Personal data in a text, by patterns, and by their check digits where they have some.

Known errors. Card numbers: any 13 to 19 digits pass Luhn's check by chance once in ten; prefixes of
no issuer are left out.
IBANs: none known beyond the 1 in 97 of chance. E-mail: addresses with quoted names or without a dot
in the host are missed.
Telephone: only written with `+`, with brackets, or in groups of the North American form; plain runs
of digits are missed, and a part number in three groups may be taken for one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_CARD = re.compile(r"(?<![\d.])\d(?:[ -]?\d){12,18}(?![\d.]*\d)")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?![A-Za-z0-9])")
_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w+%-]+(?:\.[\w+%-]+){0,8}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"
)
_PHONE = re.compile(
    r"(?<![\w.+])(?:\+\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,6}|\(\d{2,5}\)[ .-]?\d{2,4}(?:[ "
    r".-]?\d{2,4}){1,3}|\d{3}[.-]\d{3}[.-]\d{4})(?!\w)"
)
_IBAN_LENGTHS = {
    "AT": 20,
    "BE": 16,
    "CH": 21,
    "CZ": 24,
    "DE": 22,
    "DK": 18,
    "ES": 24,
    "FI": 18,
    "FR": 27,
    "GB": 22,
    "GR": 27,
    "HU": 28,
    "IE": 22,
    "IT": 27,
    "LU": 20,
    "NL": 18,
    "NO": 15,
    "PL": 28,
    "PT": 25,
    "RO": 24,
    "SE": 24,
    "SK": 24,
    "TR": 26,
}
MAX_CHARACTERS = 200_000


@dataclass(frozen=True, slots=True)
class PiiMatch:
    """`kind` is card, iban, email or phone; `start` counts characters."""

    kind: str
    text: str
    start: int


def passes_luhn(number: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1) over the ASCII digits of a text."""
    digits = [int(c) for c in number if c in "0123456789"]
    doubled = [d * 2 - 9 if d > 4 else d * 2 for d in digits[-2::-2]]
    return len(digits) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def passes_mod_97(iban: str) -> bool:
    """The check of ISO 13616: the rearranged number, letters as 10 to 35, leaves 1 when divided by
    97."""
    text = iban.replace(" ", "").upper()
    if not (15 <= len(text) <= 34 and text.isascii() and text.isalnum()):
        return False
    return int("".join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def find_pii(text: str) -> list[PiiMatch]:
    """Everything found, in the order of the text; of texts beyond `MAX_CHARACTERS` the beginning is
    read."""
    text = text[:MAX_CHARACTERS]
    found = [PiiMatch("email", m.group(), m.start()) for m in _EMAIL.finditer(text)]
    for match in _CARD.finditer(text):
        digits = re.sub(r"\D", "", match.group())
        if digits[0] in "23456" and len(set(digits)) > 1 and passes_luhn(digits):
            found.append(PiiMatch("card", match.group(), match.start()))
    found += [
        PiiMatch("iban", iban, match.start())
        for match in _IBAN.finditer(text)
        if (iban := _iban(match.group()))
    ]
    taken = [(f.start, f.start + len(f.text)) for f in found]
    for match in _PHONE.finditer(text):
        if 7 <= sum(c.isdigit() for c in match.group()) <= 15 and not any(
            a <= match.start() < b for a, b in taken
        ):
            found.append(PiiMatch("phone", match.group(), match.start()))
    return sorted(found, key=lambda one: (one.start, one.kind))


def _iban(text: str) -> str | None:
    """The IBAN that a run of letters and digits begins with: words that follow it are not its."""
    compact, length = text.replace(" ", ""), _IBAN_LENGTHS.get(text[:2])
    if length is None:
        return text if passes_mod_97(compact) else None
    if len(compact) < length or not passes_mod_97(compact[:length]):
        return None
    return compact[:length]


def masked(text: str) -> str:
    """The text with every find as `[kind]`; IBANs with blanks as far as they reach."""
    for one in reversed(find_pii(text)):
        end, left = one.start, len(one.text.replace(" ", ""))
        while left:
            left -= text[end] != " "
            end += 1
        text = f"{text[: one.start]}[{one.kind}]{text[end:]}"
    return text
