"""A report as blocks: written once, rendered as Markdown (`markdown.py`) and as HTML (`html.py`),
so that both say the same.

Texts are plain: they may hold anything a model, a file or a user wrote, and the renderers escape
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["plain", "missing", "unstated", "strong", "good", "bad", "note"]
Mark = Literal["plain", "good", "bad", "quiet"]
SHOWN = 1000  # characters of one text


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text, the code that belongs to it, and the numbers of the runs that it rests
    on."""

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


# ---- text ----


@dataclass(frozen=True, slots=True)
class Heading:
    text: str
    anchor: str = ""
    level: int = 2


@dataclass(frozen=True, slots=True)
class Prose:
    parts: Sequence[Cell]


@dataclass(frozen=True, slots=True)
class Quote:
    """What somebody or a model wrote, with its line breaks; at most `limit` characters of it."""

    text: str
    label: str = ""
    limit: int = 4000


@dataclass(frozen=True, slots=True)
class Listing:
    """Lines of a file or a command, as they stand; at most `limit` characters."""

    text: str
    language: str = ""
    limit: int = 20_000


@dataclass(frozen=True, slots=True)
class Fields:
    """Questions and their answers; an answer may have several parts, one a line."""

    rows: Sequence[tuple[str, Sequence[Cell]]]


@dataclass(frozen=True, slots=True)
class Table:
    """`numeric`: columns that stand to the right. `anchors`: one a row, where rows are linked
    to."""

    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    numeric: frozenset[int] = frozenset()
    anchors: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """`value` as it is read first, what it is (`label`), what it compares with (`note`)."""

    label: str
    value: str
    note: str = ""
    kind: Kind = "plain"


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """The few numbers that a reader came for, large, at the head of a page."""

    figures: Sequence[KeyFigure]


# ---- charts ----


@dataclass(frozen=True, slots=True)
class Point:
    """A value with its interval."""

    label: str
    value: float
    low: float
    high: float
    mark: Mark = "plain"


@dataclass(frozen=True, slots=True)
class Intervals:
    """Values with their intervals on one axis, a line at `reference`. `name` is that of its
    file."""

    name: str
    caption: str
    points: Sequence[Point]
    reference: float | None = None
    bounds: tuple[float, float] | None = None
    left: str = ""  # what lies left and right of the reference
    right: str = ""
    is_logarithmic: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """A line through points (x, y), in the order of x."""

    label: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Lines:
    """Curves on one pair of axes."""

    name: str
    caption: str
    series: Sequence[Series]
    x_label: str = ""
    y_label: str = ""
    is_logarithmic: bool = False  # the upright axis


@dataclass(frozen=True, slots=True)
class Bar:
    """`text` is what is written behind the bar; without it, the value."""

    label: str
    value: float
    text: str = ""
    mark: Mark = "plain"


@dataclass(frozen=True, slots=True)
class Bars:
    """Amounts from 0, one below the other."""

    name: str
    caption: str
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Amounts from 0 as shades, a row a kind and a column a place (layers, say); None: nothing
    there."""

    name: str
    caption: str
    rows: Sequence[str]
    columns: Sequence[str]
    values: Sequence[Sequence[float | None]]
    x_label: str = ""


Chart = Intervals | Lines | Bars | HeatMap


# ---- pages ----


@dataclass(frozen=True, slots=True)
class Link:
    """To another page of the same folder, by its stem."""

    stem: str
    text: str
    about: str = ""


@dataclass(frozen=True, slots=True)
class Links:
    links: Sequence[Link]


@dataclass(frozen=True, slots=True)
class Beside:
    """Texts to be compared: next to each other where the page is wide enough."""

    quotes: Sequence[Quote]


@dataclass(frozen=True, slots=True)
class Folded:
    """Details that are there when one opens them."""

    summary: str
    blocks: Sequence[Block]


Block = (
    Heading
    | Prose
    | Quote
    | Beside
    | Listing
    | Fields
    | Table
    | KeyFigures
    | Chart
    | Links
    | Folded
)


@dataclass(frozen=True, slots=True)
class ReportDocument:
    """`stem` is the file's name without its ending; `pages` are all pages of the set, for the
    navigation."""

    stem: str
    title: str
    subtitle: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    pages: Sequence[Link] = ()

    @property
    def charts(self) -> list[Chart]:
        """Every chart, folded ones too, in their order."""
        return list(_charts(self.blocks))


def _charts(blocks: Iterable[Block]) -> Iterator[Chart]:
    for block in blocks:
        if isinstance(block, Folded):
            yield from _charts(block.blocks)
        elif isinstance(block, Chart):
            yield block
