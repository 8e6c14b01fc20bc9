"""What a style of OpenDocument says of its text: hidden or not, and the numbers of lists and
headings.

OpenDocument 1.3 part 3: styles 16, lists 5.3, list levels 16.31 to 16.36, outline 16.34.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from understudy.rag.readers.docx_styles import numeral

MAX_STYLES = 20  # length of a chain of styles that are based on each other
_FORMS = {
    "1": "decimal",
    "a": "lowerLetter",
    "A": "upperLetter",
    "i": "lowerRoman",
    "I": "upperRoman",
    "01, 02, 03, ...": "decimalZero",
}
_MARGINS = ("header", "header-left", "header-first", "footer", "footer-left", "footer-first")
_SHOWN = re.compile(r"%(\d{1,2})%([^%]*)")  # a level, and what parts it from the next


@dataclass(frozen=True, slots=True)
class Level:
    """How the items of one level of a list are numbered; `form` is empty where they are not.
    `text` holds `%2%` where the number of level 2 stands.
    """

    form: str = ""
    text: str = ""
    start: int = 1

    @classmethod
    def of(cls, element: Element) -> Level:
        form, level = element.get("num-format", ""), _number(element.get("level"), 1)
        first = max(1, level + 1 - _number(element.get("display-levels"), 1))
        shown = ".".join(f"%{one}%" for one in range(first, level + 1))
        text = element.get("num-prefix", "") + shown + element.get("num-suffix", "")
        return cls(
            _FORMS.get(form, "decimal" if form else ""),
            element.get("num-list-format") or text,
            _number(element.get("start-value"), 1),
        )


class Counters:
    """The numbers of one list, or of the headings of a document."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def label(self, level: int, levels: dict[int, Level], start: int | None = None) -> str:
        """The number before the next item of a level, empty where it has none.

        Args:
            start: where counting begins anew with this item.
        """
        own = levels.get(level, Level())
        for above in range(1, level):  # a level that is passed over has its first number
            self._counts.setdefault(above, levels.get(above, Level()).start)
        before = self._counts.get(level)
        count = own.start if before is None else before + 1
        self._counts[level] = count if start is None else start
        for below in [known for known in self._counts if known > level]:
            del self._counts[below]
        return _SHOWN.sub(lambda shown: self._numeral(shown, levels), own.text)

    def _numeral(self, shown: re.Match[str], levels: dict[int, Level]) -> str:
        """The number of a level with what follows it; one without a form leaves neither, one of
        bullets no number.
        """
        level = int(shown[1])
        if level not in levels:
            return shown[2]
        form = levels[level].form
        return numeral(self._counts.get(level, 1), form) + shown[2] if form else ""


class OdfStyles:
    """The styles of a document: the parts `styles.xml` and `content.xml` in this order."""

    def __init__(self, parts: Iterable[Element]) -> None:
        self._styles: dict[str, Element] = {}
        self._lists: dict[str, dict[int, Level]] = {}
        self.outline: dict[int, Level] = {}
        self.masters: dict[str, Element] = {}
        for root in parts:
            for group in root:
                for style in group if group.tag != "office.body" else ():
                    self._note(style)

    def _note(self, style: Element) -> None:
        name = style.get("name", "")
        if style.tag == "style.style":
            self._styles[name] = style
        elif style.tag == "text.list-style":
            self._lists[name] = _levels(style)
        elif style.tag == "text.outline-style":
            self.outline = _levels(style)
        elif style.tag == "style.master-page":
            self.masters[name] = style

    def chain(self, name: str | None) -> list[Element]:
        """A style and those that it is based on, the nearest first."""
        found: list[Element] = []
        while name is not None and name in self._styles and len(found) < MAX_STYLES:
            found.append(self._styles[name])
            name = found[-1].get("parent-style-name")
        return found

    def is_hidden(self, name: str | None) -> bool:
        """Whether text of a style is not shown."""
        return self.property(name, "text", "display") == "none"

    def property(self, name: str | None, group: str, key: str) -> str | None:
        """A property of a style, as the nearest of its chain has it."""
        for style in self.chain(name):
            properties = style.find(f"style.{group}-properties")
            if properties is not None and key in properties.attrib:
                return properties.get(key)
        return None

    def levels(self, name: str | None) -> dict[int, Level]:
        """The levels of a list's style."""
        return self._lists.get(name or "", {})

    def margins(self, body: Element) -> Iterator[Element]:
        """Headers and footers of the pages in use, those with the same text once."""
        names = {
            entry.get("style-name")
            for tag in ("text.h", "text.p", "table.table")
            for entry in body.iter(tag)
        }
        seen = set()
        for master in self._used_masters(sorted(filter(None, names))):
            for name in _MARGINS:
                part = master.find(f"style.{name}")
                if part is not None and part.get("display") != "false":
                    text = (name.partition("-")[0], "".join(part.itertext()))
                    if text not in seen:
                        seen.add(text)
                        yield part

    def _used_masters(self, names: Iterable[str]) -> Iterable[Element]:
        """The master pages that paragraph styles ask for, the standard one before them, each
        followed by those that come behind it.
        """
        asked = ["Standard"]
        asked += [
            style.get("master-page-name", "") for name in names for style in self.chain(name)[:1]
        ]
        found: dict[str, Element] = {}
        for name in asked:
            while name in self.masters and name not in found:
                found[name] = self.masters[name]
                name = found[name].get("next-style-name", "")
        return found.values()


def _levels(style: Element) -> dict[int, Level]:
    return {
        _number(entry.get("level"), 1): Level.of(entry)
        for entry in style
        if entry.tag.endswith(("level-style-number", "outline-level-style"))
    }


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 7 else default
