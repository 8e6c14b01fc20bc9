"""Texts and numbers as a reader may see them: whatever a model, a file or a user wrote is shown,
never obeyed."""

from __future__ import annotations

import math
import unicodedata

_NAMES = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}


def visible(text: str, limit: int | None = None, *, keeps_lines: bool = False) -> str:
    """The text with every control, format, private and lone surrogate character written out.

    Args:
        limit: so many characters are shown; of a longer text its length is said.
        keeps_lines: line feeds stay, for places that show several lines.
    """
    cut = text if limit is None or len(text) <= limit else text[:limit]
    kept = " \n" if keeps_lines else " "
    shown = "".join(
        c if c in kept or unicodedata.category(c)[0] not in "CZ" else _written_out(c) for c in cut
    )
    return shown if len(cut) == len(text) else f"{shown} … ({len(text):,} characters)"


def _written_out(character: str) -> str:
    return _NAMES.get(character, f"\\u{{{ord(character):x}}}")


def number(value: float) -> str:
    """Two decimals, or what makes a small or a large number readable."""
    if not math.isfinite(value):
        return str(value)
    if 100 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.2f}" if 0.1 <= abs(value) < 100 or value == 0 else f"{value:.3g}"


def num_bytes(value: float) -> str:
    """Bytes in the unit that fits, as in `82.4 MB`."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} bytes"


def duration(seconds: float) -> str:
    """A time in the unit that fits, as in `3 min 20 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
