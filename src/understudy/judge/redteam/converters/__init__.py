"""Converters: text -> text, to be put one after the other. `CONVERTERS` is the table; to add one,
add it to a file here.

base.py        `Converter`, applying several, the pieces that wrappers are made of
encodings.py   the same text in another notation: base64, hex, Morse …
disguises.py   the same letters, harder to match: look-alikes, zero-width characters, reversed …
wrappers.py    the text inside of another: role-play, refusal suppressed, payload split, document,
tool result …
"""

from understudy.judge.redteam.converters.base import Converter, apply
from understudy.judge.redteam.converters.disguises import DISGUISES
from understudy.judge.redteam.converters.encodings import ENCODINGS
from understudy.judge.redteam.converters.wrappers import WRAPPERS

CONVERTERS: dict[str, Converter] = {one.name: one for one in (*ENCODINGS, *DISGUISES, *WRAPPERS)}


def convert(text: str, names: tuple[str, ...] | list[str]) -> str:
    """The text through converters, in this order.

    Raises:
        UsageError: no such converter, or the text grew beyond 1,000,000 characters.
    """
    return apply(text, names, CONVERTERS)


__all__ = ["CONVERTERS", "Converter", "convert"]
