"""Data made invisible to a template, so that its output falls apart into markup and data.

Every character of the data that is no blank becomes a private-use character which stands for that
character and its origin. Lengths, slices, trims and joins work as before, so most templates cannot
tell; no marker can be read in the data, nor be pieced together out of data and markup.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from understudy.errors import TemplateError
from understudy.text.templates.base import Origin, PromptPart

_CODES = [*range(0xF0000, 0xFFFFE), *range(0x100000, 0x10FFFE)]  # the private use planes 15 and 16
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*\Z")
_FREE_KEYS = ("properties", "arguments")  # the keys below these are names that somebody chose
_WORDS = (
    "function",
    "object",
    "string",
    "number",
    "integer",
    "boolean",
    "array",
    "null",
    "text",
)  # templates compare types
Hide = Callable[[str, Origin], str]


class DataMask:
    """Hides texts and shows them again; `switches` are words that stay visible, since a template
    looks for them in what users say.
    """

    def __init__(self, switches: Sequence[str] = ()) -> None:
        self._switches = re.compile("|".join(map(re.escape, switches))) if switches else None
        self._tables: dict[Origin, dict[int, int]] = {}
        self._meaning: dict[int, tuple[str, Origin]] = {}

    def hide(self, text: str, origin: Origin) -> str:
        """The same number of characters; blanks stay.

        Raises:
            TemplateError: more different characters than there are private ones.
        """
        if self._switches is not None and (found := self._switches.search(text)):
            before, after = text[: found.start()], text[found.end() :]
            return self._hide(before, origin) + found[0] + self.hide(after, origin)
        return self._hide(text, origin)

    def _hide(self, text: str, origin: Origin) -> str:
        table = self._tables.setdefault(origin, {})
        for character in set(text):
            if ord(character) not in table and not character.isspace():
                if len(self._meaning) == len(_CODES):
                    raise TemplateError("the messages hold too many different characters")
                code = _CODES[len(self._meaning)]
                table[ord(character)] = code
                self._meaning[code] = character, origin
        return text.translate(table)

    def show(self, text: str) -> str:
        return text.translate({code: character for code, (character, _) in self._meaning.items()})

    def origin(self, text: str) -> Origin | None:
        """Whose the first hidden character of a text is; None where there is none."""
        return next((self._meaning[ord(c)][1] for c in text if ord(c) in self._meaning), None)

    def parts(self, text: str) -> tuple[PromptPart, ...]:
        """Markup and data of a rendered text; blanks go with what stands before them."""
        origins: list[Origin | None] = []
        for character in text:
            known = self._meaning.get(ord(character))
            blank = character.isspace() and origins
            origins.append(origins[-1] if blank else known[1] if known else None)
        parts = []
        at = 0
        for origin, run in itertools.groupby(origins):
            length = len(list(run))
            piece = text[at : at + length]
            parts.append(
                PromptPart(piece, True)
                if origin is None
                else PromptPart(self.show(piece), origin=origin)
            )
            at += length
        return tuple(parts)

    def plain(self, value: Any) -> Any:
        """A value with all its texts shown."""
        if isinstance(value, str):
            return self.show(value)
        if isinstance(value, Mapping):
            return {self.plain(key): self.plain(inner) for key, inner in value.items()}
        return [self.plain(inner) for inner in value] if isinstance(value, list | tuple) else value

    def written(self, value: Any, write: Callable[[Any], str]) -> str:
        """What is written of a list or an object (`tojson`, `string`) is data as a whole, braces
        included.
        """
        return self.hide(write(self.plain(value)), self._origin_in(value) or "tools")

    def _origin_in(self, value: Any) -> Origin | None:
        if isinstance(value, str):
            return self.origin(value)
        inner: Iterable[Any] = value if isinstance(value, list | tuple) else ()
        if isinstance(value, Mapping):
            inner = itertools.chain.from_iterable(value.items())
        return next((found for entry in inner if (found := self._origin_in(entry))), None)


def hidden(value: Any, hide: Hide, origin: Origin, parent: str = "") -> Any:
    """A tool or a message's field with all its texts hidden, names that templates look for
    excepted.
    """
    if isinstance(value, str):
        return value if parent == "type" and value in _WORDS else hide(value, origin)
    if isinstance(value, Mapping):
        return {
            _key(str(key), hide, origin, parent): hidden(inner, hide, origin, str(key))
            for key, inner in value.items()
        }
    return (
        [hidden(inner, hide, origin, parent) for inner in value]
        if isinstance(value, (list, tuple))
        else value
    )


def _key(key: str, hide: Hide, origin: Origin, parent: str) -> str:
    return key if parent not in _FREE_KEYS and _IDENTIFIER.match(key) else hide(key, origin)
