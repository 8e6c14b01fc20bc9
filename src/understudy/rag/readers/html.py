"""HTML by the standard's tree (Lexbor): what a browser shows, in its order, as headings,
paragraphs, lists, tables and code.

Inline elements put no blanks into a text. Left out: what is hidden, `nav`, and what a browser draws
no text for.
The model is `innerText`; `docs/compatibility/documents.md` says where we differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document, table_text
from understudy.rag.readers import names
from understudy.rag.readers.html_source import html_text, tamed, without_self_closed
from understudy.rag.readers.html_table import Grid, shown_rows, span

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

MAX_BYTES = 64 << 20
_NOT_SHOWN = names(
    """head script style template noscript nav iframe embed audio video canvas datalist progress
    meter noembed noframes title desc metadata defs annotation annotation-xml rp area map param
    source track link meta"""
)
_BLOCKS = names(
    """address article aside blockquote body button-group center dd details dialog dir div dl dt
    fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li
    listing main menu ol optgroup option p plaintext pre search section summary table caption
    tbody td text textarea tfoot th thead tr ul xmp"""
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = frozenset(["ul", "ol", "menu", "dir", "dl"])
_RAW = frozenset(["pre", "textarea", "listing", "xmp", "plaintext"])
_HIDING = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse))\b", re.IGNORECASE
)
_BLOCK_STYLE = re.compile(
    r"(?:^|;)\s*(?:display\s*:\s*(?:block|flex|grid|table|list-item|flow-root)\b(?!-)"
    r"|float\s*:\s*(?:left|right)\b|position\s*:\s*(?:absolute|fixed)\b)",
    re.IGNORECASE,
)
_BLANKS = re.compile(r"[ \t\n\f\r]+")
_LONG_CELL = 3  # paragraphs of a cell from which on its table is taken for a layout
_INDENT = "  "
_MAX_INDENTS = 8
_MARKER = "- "


def read(path: Path, data: bytes) -> Document:
    if b"\0" in data[:4096] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise DocumentError("file is binary, not HTML", where=path)
    if len(data) > MAX_BYTES:
        raise DocumentError(
            "page is too large", where=path, expected=f"at most {MAX_BYTES} bytes", found=len(data)
        )
    text = html_text(data)
    if path.suffix.lower() == ".xhtml":
        text = without_self_closed(text)
    builder = Builder()
    add_page(text, builder)
    builder.title = builder.title or path.stem
    return builder.build()


def add_page(text: str, builder: Builder) -> None:
    """Adds the blocks of a page; its `<title>` becomes the builder's, unless that has one."""
    from selectolax.lexbor import LexborHTMLParser

    tree = LexborHTMLParser(tamed(text))
    if tree.head is not None and not builder.title:
        title = tree.head.css_first("title")
        builder.title = " ".join((title.text() if title is not None else "").split())
    if tree.root is not None:
        _Page(builder).read(tree.root)


@dataclass(slots=True)
class _Page:
    """A page while its tree is walked, without recursion: text gathers until a block begins or
    ends.
    """

    builder: Builder
    pieces: list[str] = field(default_factory=list)
    headings: list[int] = field(default_factory=list)  # levels of those that are open
    num_raw: int = 0  # open elements whose blanks count
    layouts: set[int] = field(default_factory=set)
    cells: list[str] | None = None  # texts of the cell that is open
    grid: Grid | None = None
    lists: list[str] = field(default_factory=list)  # tags of those that are open
    list_lines: list[str] = field(default_factory=list)
    marker: str = ""

    def read(self, root: LexborNode) -> None:
        self.layouts = _layout_tables(root)
        for node, is_end in _walk(root):
            if is_end:
                self._end(node, node.tag or "")
            elif node.is_text_node:
                self._text(node.text_content or "")
            else:
                self._begin(node, node.tag or "")
        self._flush()
        self._flush_list()

    # ---- text ----

    def _text(self, text: str) -> None:
        self.pieces.append(text if self.num_raw else _BLANKS.sub(" ", text))

    def _flush(self) -> None:
        """Puts what has gathered where it belongs: a cell, a list, or a block of its own."""
        if not self.pieces:
            return
        text = "".join(self.pieces).replace("\xa0", " ")
        self.pieces.clear()
        if not self.num_raw:
            text = "\n".join(" ".join(line.split()) for line in text.split("\n"))
        if not text.strip():
            return
        if self.cells is not None:
            self.cells.append(" ".join(text.split()))
        elif self.headings:
            self._flush_list()
            self.builder.add(" ".join(text.split()), "heading", self.headings[-1])
        elif self.num_raw:
            self._flush_list()
            self.builder.add(text, "code")
        elif self.lists:
            self._add_to_list(text.strip())
        else:
            self.builder.add(text.strip())

    def _add_to_list(self, text: str) -> None:
        """A line of a list; what goes on an item stands under its first word."""
        indent = _INDENT * min(len(self.lists) - 1, _MAX_INDENTS)
        hanging = indent + ("" if self.lists[-1] == "dl" else _INDENT)
        first = indent + self.marker if self.marker else hanging
        self.list_lines.append(first + text.replace("\n", f"\n{hanging}"))
        self.marker = ""

    def _flush_list(self) -> None:
        self.builder.add("\n".join(self.list_lines), "list")
        self.list_lines.clear()

    # ---- elements ----

    def _begin(self, node: LexborNode, tag: str) -> None:
        if tag == "br":
            self.pieces.append("\n")
        elif tag == "rt":
            self.pieces.append("(")
        if tag not in _BLOCKS:
            self._break_line(node)
            return
        self._flush()
        if tag in _HEADINGS:
            self.headings.append(_HEADINGS[tag])
        elif tag in _RAW:
            self.num_raw += 1
        elif tag in _LISTS:
            self.lists.append(tag)
        elif tag == "li":
            self.marker = _MARKER
        elif tag == "table" and node.mem_id not in self.layouts:
            self._flush_list()
            self.grid = Grid()
        elif self.grid is not None:
            self._begin_in_table(tag)

    def _break_line(self, node: LexborNode) -> None:
        """At the edges of an inline element that its style makes a block."""
        style = node.attributes.get("style")
        if not style or _BLOCK_STYLE.search(style) is None:
            return
        while self.pieces and self.pieces[-1] == " " and not self.num_raw:
            self.pieces.pop()
        if self.pieces and not self.pieces[-1].endswith("\n"):
            self.pieces.append("\n")

    def _begin_in_table(self, tag: str) -> None:
        assert self.grid is not None
        if tag == "tr":
            self.grid.begin_row()
        elif tag in ("thead", "tbody", "tfoot"):
            self.grid.begin_group()
        elif tag in ("td", "th"):
            self.cells = []

    def _end(self, node: LexborNode, tag: str) -> None:
        if tag == "rt":
            self.pieces.append(")")
        if tag not in _BLOCKS:
            self._break_line(node)
            return
        self._flush()
        if tag in _HEADINGS:
            self.headings.pop()
        elif tag in _RAW:
            self.num_raw -= 1
        elif tag in _LISTS:
            self.lists.pop()
            if not self.lists:
                self._flush_list()
        elif tag == "li":
            self.marker = ""
        elif self.grid is not None:
            self._end_in_table(node, tag)

    def _end_in_table(self, node: LexborNode, tag: str) -> None:
        assert self.grid is not None
        if tag in ("td", "th") and self.cells is not None:
            attributes = node.attributes
            columns, rows = span(attributes.get("colspan")), span(attributes.get("rowspan"))
            self.grid.add(" ".join(self.cells), max(1, columns), rows)
            self.cells = None
        elif tag == "tr":
            self.grid.end_row()
        elif tag == "table":
            self.builder.add(table_text(list(shown_rows(self.grid))), "table")
            self.grid = None


def _walk(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """(node, is it its end) of all that is shown, in order; texts have no end."""
    open_nodes = [root]
    node = root.child
    while True:
        while node is None:
            left = open_nodes.pop()
            if not open_nodes:
                return
            yield left, True
            node = left.next
        if node.is_text_node:
            yield node, False
        elif node.is_element_node and not _is_hidden(node):
            yield node, False
            open_nodes.append(node)
            node = node.child
            continue
        node = node.next


def _is_hidden(node: LexborNode) -> bool:
    tag = node.tag
    if tag in _NOT_SHOWN:
        return True
    attributes = node.attributes
    if not attributes:
        return tag == "dialog"
    if "hidden" in attributes and (attributes["hidden"] or "").lower() != "until-found":
        return True
    if tag == "dialog" and "open" not in attributes:
        return True
    if tag == "object" and "data" in attributes:  # else what stands in it is shown
        return True
    return _HIDING.search(attributes.get("style") or "") is not None


@dataclass(slots=True)
class _Table:
    id: int
    is_layout: bool = False
    columns: int = 0  # of the row that is open
    max_columns: int = 0
    paragraphs: int = 0  # of the cell that is open


def _layout_tables(root: LexborNode) -> set[int]:
    """The tables that only place things: those that hold tables, headings, code or long text, or
    have one column.
    """
    found: set[int] = set()
    tables: list[_Table] = []
    for node, is_end in _walk(root):
        tag = node.tag or ""
        if tag == "table" and is_end:
            table = tables.pop()
            if table.is_layout or table.max_columns < 2:
                found.add(table.id)
        elif tag == "table":
            if tables:
                tables[-1].is_layout = True
            tables.append(_Table(node.mem_id))
        elif tables and not is_end:
            _look(tables[-1], tag)
    return found


def _look(table: _Table, tag: str) -> None:
    if tag == "tr":
        table.columns = 0
    elif tag in ("td", "th"):
        table.columns, table.paragraphs = table.columns + 1, 0
        table.max_columns = max(table.max_columns, table.columns)
    elif tag == "p":
        table.paragraphs += 1
        table.is_layout |= table.paragraphs > _LONG_CELL
    elif tag in _HEADINGS or tag in _RAW:
        table.is_layout = True
