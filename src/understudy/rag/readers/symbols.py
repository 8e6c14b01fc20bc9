"""Characters of the fonts Symbol and Wingdings, which Word keeps in the private use area, as
Unicode has them.

Symbol: Unicode's table MAPPINGS/VENDORS/ADOBE/symbol.txt; of Wingdings only the ticks and boxes
that forms use.
"""

from __future__ import annotations

_SYMBOL = (
    dict(zip(range(0x41, 0x5B), "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ", strict=True))
    | dict(zip(range(0x61, 0x7B), "αβχδεφγηιϕκλμνοπθρστυϖωξψζ", strict=True))
    | {
        0x22: "∀",
        0x24: "∃",
        0x27: "∋",
        0x2D: "−",
        0x40: "≅",
        0x5C: "∴",
        0x5E: "⊥",
        0xA2: "′",
        0xA3: "≤",
        0xA4: "⁄",
        0xA5: "∞",
        0xAB: "↔",
        0xAC: "←",
        0xAD: "↑",
        0xAE: "→",
        0xAF: "↓",
        0xB0: "°",
        0xB1: "±",
        0xB2: "″",
        0xB3: "≥",
        0xB4: "×",
        0xB5: "∝",
        0xB6: "∂",
        0xB7: "•",
        0xB8: "÷",
        0xB9: "≠",
        0xBA: "≡",
        0xBB: "≈",
        0xBC: "…",
        0xC5: "⊕",
        0xC6: "∅",
        0xC7: "∩",
        0xC8: "∪",
        0xCC: "⊂",
        0xCE: "∈",
        0xCF: "∉",
        0xD0: "∠",
        0xD1: "∇",
        0xD5: "∏",
        0xD6: "√",
        0xD7: "⋅",
        0xD8: "¬",
        0xD9: "∧",
        0xDA: "∨",
        0xDB: "⇔",
        0xDC: "⇐",
        0xDE: "⇒",
        0xE5: "∑",
        0xF2: "∫",
    }
)
_WINGDINGS = {
    0x6F: "☐",
    0xA8: "☐",
    0x71: "☐",
    0x78: "☒",
    0xFB: "✗",
    0xFC: "✓",
    0xFD: "☒",
    0xFE: "☑",
    0xE0: "→",
}
_PRIVATE = 0xF000


def symbol(font: str, code: str) -> str:
    """The character that `w:sym` shows; a private one of a font we do not know is a person's to
    guess: U+FFFD.
    """
    try:
        number = int(code, 16)
    except ValueError:
        return ""
    number -= _PRIVATE if _PRIVATE <= number < _PRIVATE + 0x100 else 0
    table = {"symbol": _SYMBOL, "wingdings": _WINGDINGS}.get(font.lower())
    if table is not None and number < 0x100:
        plain = chr(number) if table is _SYMBOL and 0x20 <= number < 0x7F else "\ufffd"
        return table.get(number, plain)
    is_character = number >= 0x20 and not 0xD800 <= number < 0xE000 and number < 0x110000
    return chr(number) if is_character else "\ufffd"


_RAISED = str.maketrans("0123456789ivxlcm", "⁰¹²³⁴⁵⁶⁷⁸⁹ⁱᵛˣˡᶜᵐ")


def raised(mark: str) -> str:
    """The number of a note as it stands in a sentence."""
    return mark.translate(_RAISED)
