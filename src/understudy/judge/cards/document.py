"""A page as blocks: written once, rendered as Markdown (`markdown.py`) and as HTML (`page.py`), so that both say the same.

Texts are plain: they may hold anything a model, a file or a user wrote, and the renderers escape them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["plain", "missing", "unstated", "strong", "good", "bad"]
SHOWN = 1000  # characters of one text


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, the code that belongs to it, and the numbers of the runs that it rests on."""

    text: str
    code: str = ""
    runs: tuple[int, ...] = ()
    kind: Kind = "plain"


Cell = Text | str


def as_text(cell: Cell) -> Text:
    return cell if isinstance(cell, Text) else Text(cell)


def missing(command: str, what: str = "not measured") -> Text:
    """Evidence that is not there, with the command that would make it."""
    return Text(what, code=command, kind="missing")


NOT_STATED = Text("not stated", kind="unstated")


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    anchor: str = ""
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    parts: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Fields:
    """Questions and their answers; an answer may have several parts, one a line."""

    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True, slots=True)
class Table:
    """`numeric`: columns that stand to the right. `anchors`: one a row, where rows are linked to."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    anchors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval; `is_marked` where it lies beyond the reference."""

    label: str
    value: float
    low: float
    high: float
    is_marked: bool = False


@dataclass(frozen=True, slots=True)
class Intervals:
    """A figure: values with their intervals on one axis, a line at `reference`. `name` is that of its file."""

    name: str
    caption: str
    points: Sequence[Point]
    reference: float | None = None
    bounds: tuple[float, float] | None = None
    left: str = ""  # what lies left and right of the reference
    right: str = ""


@dataclass(frozen=True, slots=True)
class Link:
    """To another page of the same folder, by its stem."""

    stem: str
    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    links: Sequence[Link]


Block = Heading | Paragraph | Fields | Table | Intervals | Links


@dataclass(frozen=True, slots=True)
class Document:
    """`stem` is the file's name without its ending; `pages` are all pages of the set, for the navigation."""

    stem: str
    title: str
    subtitle: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    pages: Sequence[Link] = ()

    @property
    def figures(self) -> list[Intervals]:
        return [block for block in self.blocks if isinstance(block, Intervals)]
