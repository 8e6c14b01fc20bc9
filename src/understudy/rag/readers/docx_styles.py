"""What a Word paragraph is by its styles and its numbering: heading or list item, hidden or not,
and the number before it.

ECMA-376 part 1: styles 17.7, numbering 17.9.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal
from xml.etree.ElementTree import Element

MAX_STYLES = 20  # length of a chain of styles that are based on each other
NUM_LEVELS = 9
_HEADING_NAME = re.compile(r"heading ([1-9])", re.IGNORECASE)
_PLACE = re.compile("%([1-9])([^%]*)")  # of a number, and what parts it from the next
_BODY_LEVEL = 9  # the outline level of text that is no heading
_ROMAN = (
    (1000, "m"),
    (900, "cm"),
    (500, "d"),
    (400, "cd"),
    (100, "c"),
    (90, "xc"),
    (50, "l"),
    (40, "xl"),
    (10, "x"),
    (9, "ix"),
    (5, "v"),
    (4, "iv"),
    (1, "i"),
)


def is_on(parent: Element | None, name: str) -> bool | None:
    """A switch like `w.vanish`: None where it does not stand, for then the style below decides."""
    found = None if parent is None else parent.find(name)
    return None if found is None else found.get("val", "true") not in ("0", "false", "off")


def value_of(parent: Element | None, name: str) -> str | None:
    found = None if parent is None else parent.find(name)
    return None if found is None else found.get("val")


@dataclass(frozen=True, slots=True)
class Look:
    """How a paragraph stands in its document; `level` is 1 to 6 for headings."""

    kind: Literal["heading", "list", "paragraph"]
    level: int
    label: str


class Styles:
    """The styles of a document and the counters of its lists, which go on from paragraph to
    paragraph.
    """

    def __init__(self, styles: Element | None, numbering: Element | None) -> None:
        entries = [] if styles is None else styles.findall("w.style")
        self.by_id = {entry.get("styleId", ""): entry for entry in entries}
        self.default = next(
            (
                entry.get("styleId")
                for entry in entries
                if entry.get("type") == "paragraph" and entry.get("default") in ("1", "true")
            ),
            None,
        )
        self.numbering = Numbering(numbering, self._numbers_of_style)

    def chain(self, style: str | None) -> Iterator[Element]:
        """A style and those it is based on, the nearest first."""
        for _ in range(MAX_STYLES):
            entry = None if style is None else self.by_id.get(style)
            if entry is None:
                return
            yield entry
            style = value_of(entry, "w.basedOn")

    def is_hidden(self, properties: Element | None) -> bool:
        """Whether a run's own properties or its character style hide it."""
        own = is_on(properties, "w.vanish")
        if own is not None or properties is None:
            return bool(own)
        chain = self.chain(value_of(properties, "w.rStyle"))
        return next(
            (bool(on) for s in chain if (on := is_on(s, "w.rPr/w.vanish")) is not None), False
        )

    def look(self, properties: Element | None) -> Look:
        """What a paragraph is, by its `w.pPr`; its list counts on by this."""
        chain = list(self.chain(value_of(properties, "w.pStyle") or self.default))
        number, level = self._numbers(properties, chain)
        label = self.numbering.label(number, level) if number else ""
        heading = self._heading(properties, chain)
        if heading:
            return Look("heading", heading, label)
        names = [value_of(style, "w.name") or "" for style in chain[:1]]
        is_item = bool(number) or any(name.lower().startswith("list") for name in names)
        return Look("list" if is_item else "paragraph", 0, label)

    def _heading(self, properties: Element | None, chain: list[Element]) -> int:
        outline = value_of(properties, "w.outlineLvl")
        for style in chain:
            if outline is not None:
                break
            name = value_of(style, "w.name") or ""
            if match := _HEADING_NAME.fullmatch(name):
                return min(6, int(match[1]))
            if name.lower() == "title":
                return 1
            outline = value_of(style, "w.pPr/w.outlineLvl")
        level = int(outline) if outline is not None and outline.isdecimal() else _BODY_LEVEL
        return min(6, level + 1) if level < _BODY_LEVEL else 0

    def _numbers(self, properties: Element | None, chain: list[Element]) -> tuple[str | None, int]:
        """(numbering id, level), from the paragraph itself or the nearest style that has them."""
        number = value_of(properties, "w.numPr/w.numId")
        level = value_of(properties, "w.numPr/w.ilvl")
        for style in chain:
            if number is not None:
                break
            number = value_of(style, "w.pPr/w.numPr/w.numId")
            if number is not None and level is None:
                level = value_of(style, "w.pPr/w.numPr/w.ilvl")
                level = level or self.numbering.level_of_style(number, style.get("styleId", ""))
        if number in (None, "0"):  # 0 takes a number away that a style gives
            return None, 0
        return number, min(_number(level, 0), NUM_LEVELS - 1)

    def _numbers_of_style(self, style: str) -> str | None:
        chain = self.chain(style)
        return next((n for s in chain if (n := value_of(s, "w.pPr/w.numPr/w.numId"))), None)


@dataclass(frozen=True, slots=True)
class _Level:
    start: int = 1
    form: str = "decimal"
    text: str = ""
    restarts_after: int | None = None  # None: after any level above; 0: never
    is_legal: bool = False
    style: str | None = None


@dataclass(slots=True)
class Numbering:
    """The lists of `numbering.xml` and how far each has counted."""

    root: Element | None
    numbers_of_style: Callable[[str], str | None]
    counts: dict[str, dict[int, int]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)
    _abstract: dict[str, Element] = field(default_factory=dict)
    _numbers: dict[str, Element] = field(default_factory=dict)
    _levels: dict[str, dict[int, _Level]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.root is not None:
            for entry in self.root.findall("w.abstractNum"):
                self._abstract[entry.get("abstractNumId", "")] = entry
            for entry in self.root.findall("w.num"):
                self._numbers[entry.get("numId", "")] = entry

    def level_of_style(self, number: str, style: str) -> str | None:
        levels = self.levels(number)
        return next((str(i) for i, level in levels.items() if level.style == style), None)

    def label(self, number: str, at: int) -> str:
        """The number before the next item of a list, counted on; empty for bullets and unknown
        lists.
        """
        levels = self.levels(number)
        if at not in levels:
            return ""
        counts = self.counts.setdefault(self._list_of(number), {})
        if number not in self.seen:
            self.seen.add(number)
            counts.update({i: start - 1 for i, start in self._restarts(number)})
        counts[at] = counts.get(at, levels[at].start - 1) + 1
        for i in [i for i in counts if i > at]:
            after = levels[i].restarts_after if i in levels else None
            if after is None or at < after:
                del counts[i]
        if levels[at].form == "bullet":
            return ""
        return _PLACE.sub(lambda place: self._shown(levels, counts, at, place), levels[at].text)

    @staticmethod
    def _shown(
        levels: dict[int, _Level], counts: dict[int, int], at: int, place: re.Match[str]
    ) -> str:
        """The number of a level with what follows it; one of the form `none` leaves neither."""
        wanted = int(place[1]) - 1
        level = levels.get(wanted, _Level())
        form = "decimal" if levels[at].is_legal else level.form
        text = numeral(counts.get(wanted, level.start), form)
        return "" if form == "none" else text + place[2]

    def levels(self, number: str) -> dict[int, _Level]:
        if number not in self._levels:
            levels = self._read_levels(self._abstract.get(self._list_of(number)))
            entry = self._numbers.get(number)
            for override in [] if entry is None else entry.findall("w.lvlOverride"):
                levels.update(self._read_levels(override))
            self._levels[number] = levels
        return self._levels[number]

    def _list_of(self, number: str) -> str:
        """The id of the abstract list; a list may stand for that of a style."""
        for _ in range(MAX_STYLES):
            name = value_of(self._numbers.get(number), "w.abstractNumId") or ""
            link = value_of(self._abstract.get(name), "w.numStyleLink")
            following = self.numbers_of_style(link) if link else None
            if following is None or following == number:
                return name
            number = following
        return ""

    def _restarts(self, number: str) -> Iterator[tuple[int, int]]:
        entry = self._numbers.get(number)
        for override in [] if entry is None else entry.findall("w.lvlOverride"):
            start = value_of(override, "w.startOverride")
            if start is not None:
                yield _number(override.get("ilvl"), 0), _number(start, 1)

    @staticmethod
    def _read_levels(parent: Element | None) -> dict[int, _Level]:
        found = {}
        for entry in [] if parent is None else parent.findall("w.lvl"):
            restart = value_of(entry, "w.lvlRestart")
            found[_number(entry.get("ilvl"), 0)] = _Level(
                start=_number(value_of(entry, "w.start"), 0),
                form=value_of(entry, "w.numFmt") or "decimal",
                text=value_of(entry, "w.lvlText") or "",
                restarts_after=None if restart is None else _number(restart, 0),
                is_legal=bool(is_on(entry, "w.isLgl")),
                style=value_of(entry, "w.pStyle"),
            )
        return found


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 10 else default


def numeral(count: int, form: str) -> str:
    """A number as `w.numFmt` names it; forms of other scripts are written in digits."""
    if form in ("upperRoman", "lowerRoman"):
        text = roman(count)
    elif form in ("upperLetter", "lowerLetter"):
        text = (
            chr(ord("a") + (count - 1) % 26) * ((count - 1) // 26 + 1) if 0 < count < 2600 else ""
        )
    elif form == "decimalZero":
        return f"{count:02}"
    elif form == "ordinal":
        teens = count % 100 in (11, 12, 13)
        return f"{count}{'th' if teens else {1: 'st', 2: 'nd', 3: 'rd'}.get(count % 10, 'th')}"
    elif form in ("none", "bullet"):
        return ""
    else:
        return str(count)
    text = text or str(count)
    return text.upper() if form.startswith("upper") else text


def roman(count: int) -> str:
    text = ""
    for value, letters in _ROMAN if 0 < count < 4000 else ():
        text += letters * (count // value)
        count %= value
    return text
