"""What a converter is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from understudy.errors import UsageError

MAX_CHARACTERS = 1_000_000
MAX_CONVERTERS = 8


@dataclass(frozen=True, slots=True)
class Converter:
    """`convert` has no chance in it: the same text gives the same. `reverse`, where there is one,
    gives the text back.

    Attributes:
        kind: encoding, disguise or wrapper.
        says: what it does, in a line.
        domain: the texts that `reverse` holds for: any, ascii (printable), letters (a to z, digits
        and single blanks).
    """

    name: str
    kind: str
    says: str
    convert: Callable[[str], str]
    reverse: Callable[[str], str] | None = None
    domain: str = "any"


def apply(text: str, names: Sequence[str], table: Mapping[str, Converter]) -> str:
    """See `convert`."""
    if len(names) > MAX_CONVERTERS:
        raise UsageError(
            "too many converters",
            where="converters",
            expected=f"at most {MAX_CONVERTERS}",
            found=len(names),
        )
    for name in names:
        if name not in table:
            raise UsageError(
                "no such converter", where="converters", expected=" ".join(table), found=name
            )
        text = table[name].convert(text)
        if len(text) > MAX_CHARACTERS:
            raise UsageError(
                "the message is too long",
                where=name,
                expected=f"at most {MAX_CHARACTERS} characters",
                found=len(text),
            )
    return text


def around(name: str, says: str, before: str, after: str = "") -> Converter:
    """A wrapper that puts fixed text before and after."""

    def unwrap(text: str) -> str:
        return text.removeprefix(before).removesuffix(after)

    return Converter(name, "wrapper", says, lambda text: f"{before}{text}{after}", unwrap)


def by_letters(table: Mapping[str, str]) -> Callable[[str], str]:
    """Replaces single characters."""
    mapping = str.maketrans(dict(table))
    return lambda text: text.translate(mapping)
