"""OpenDocument texts (`.odt`), as LibreOffice shows them in print: numbers of lists and headings,
notes, frames, tables in tables, headers and footers; deleted and hidden text is left out.

OpenDocument 1.3 part 3. `ods.py` and `odp.py` read sheets and slides with what is here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document, add_table
from understudy.rag.readers import names
from understudy.rag.readers.odf_objects import OdfObjects
from understudy.rag.readers.odf_runs import FRAMES, OdfParagraph, OdfRuns
from understudy.rag.readers.odf_styles import Counters, OdfStyles
from understudy.rag.readers.package import Package, walk
from understudy.rag.readers.symbols import raised

MAX_DEPTH = 30  # of frames, tables and lists in each other
MAX_SPAN = 64  # columns of a text's table
_FRAMES_OF_ROWS = names("table.table-header-rows table.table-rows table.table-row-group")
_OPENED = names(
    """text.section text.index-body text.index-title text.table-of-content text.illustration-index
    text.table-index text.object-index text.user-index text.alphabetical-index text.bibliography
    text.page-sequence draw.g draw.a draw.frame draw.text-box"""
)


def read(path: Path, data: bytes) -> Document:
    return OdfBlocks(package_of(path, data, "OpenDocument text")).document()


def package_of(path: Path, data: bytes, what: str) -> Package:
    """Raises DocumentError: protected by a password."""
    package = Package(path, data, what)
    name = "META-INF/manifest.xml"
    if name in package.names and b"encryption-data" in package.read(name):
        raise DocumentError(f"{what} is encrypted", where=path, do="save it without a password")
    return package


class OdfBlocks:
    """One document while it is read."""

    def __init__(self, package: Package) -> None:
        self.package, self.content = package, package.xml("content.xml")
        styles = package.optional_xml("styles.xml")
        parts = [self.content] if styles is None else [styles, self.content]
        self.styles = OdfStyles(parts)
        self._objects = OdfObjects(package, self.content)
        self._runs, self._headings = OdfRuns(self.styles, self._objects.formula), Counters()
        meta = package.optional_xml("meta.xml")
        title = "" if meta is None else meta.findtext(".//title") or ""
        self.builder = Builder(title.strip())
        self.left_out: Counter[str] = Counter()
        self._lists: dict[str, Counters] = {}  # by id, and the last of each style
        self._num_notes: Counter[str] = Counter()
        self._endnotes: list[tuple[str, Element]] = []

    def document(self) -> Document:
        body = self.content.find("office.body/office.text")
        if body is None:
            raise DocumentError("not an OpenDocument text", where=self.package.path)
        margins = list(self.styles.margins(body))
        for part in (part for part in margins if part.tag.startswith("style.header")):
            self.blocks(part, self.builder, 1)
        self.blocks(body, self.builder, 0)
        for mark, note in self._endnotes:
            self._note(mark, note, self.builder, 1)
        for part in (part for part in margins if part.tag.startswith("style.footer")):
            self.blocks(part, self.builder, 1)
        return self.built()

    def built(self) -> Document:
        """The document, with a line for what was left out."""
        self.builder.warn_of(self.left_out)
        self.builder.title = self.builder.title or self.package.path.stem
        return self.builder.build()

    # ---- blocks ----

    def blocks(self, parent: Element, builder: Builder, depth: int) -> None:
        """Adds the paragraphs, lists and tables of a body, section, cell, note or frame."""
        if depth > MAX_DEPTH:
            for element in parent.iter("text.p"):
                builder.add(self._runs.read(element).text_with(()))
            return
        for element in walk(parent, lambda one: one if self._is_frame(one) else None):
            if element.tag in ("text.p", "text.h"):
                self._paragraph(element, builder, depth)
            elif element.tag in ("text.list", "text.numbered-paragraph"):
                self._list(element, builder, depth)
            elif element.tag == "table.table":
                self._table(element, builder, depth)
            elif element.tag == "draw.control":
                builder.add(self._objects.control(element))
            elif element.tag in ("draw.object", "draw.object-ole"):
                builder.add(self._objects.text(element, self.left_out))
            elif element.tag in FRAMES:
                self.blocks(element, builder, depth + 1)
            elif element.tag == "office.annotation":
                self.left_out["comment"] += 1

    def _is_frame(self, element: Element) -> bool:
        if element.tag == "text.section" and element.get("display") == "none":
            return False
        return element.tag in _OPENED

    def _paragraph(
        self, element: Element, builder: Builder, depth: int, label: str = "", kind: str = ""
    ) -> None:
        paragraph = self._runs.read(element)
        marks, below = self._numbered(paragraph)
        text = paragraph.text_with(marks).strip("\n")
        level = 0
        if element.tag == "text.h":
            level = _level(element.get("outline-level"))
            if not label and text.strip() and element.get("is-list-header") != "true":
                label = self._headings.label(level, self.styles.outline, _start(element))
        if label.strip() and text.strip():
            text = f"{label.strip()} {text.strip()}"
        if element.tag == "text.h":
            builder.add(text, "heading", min(level, 6))
        else:
            builder.add(text, "list" if kind == "list" else "paragraph")
        self._after(paragraph, below, builder, depth)

    def _numbered(self, paragraph: OdfParagraph) -> tuple[list[str], list[tuple[str, Element]]]:
        """(the mark of each note, the footnotes to come below); endnotes wait for the end."""
        marks: list[str] = []
        below: list[tuple[str, Element]] = []
        for note in paragraph.notes:
            kind = note.get("note-class", "footnote")
            self._num_notes[kind] += 1
            citation = note.find("text.note-citation")
            shown = "" if citation is None else "".join(citation.itertext()).strip()
            mark = raised(shown or str(self._num_notes[kind]))
            marks.append(mark)
            body = note.find("text.note-body")
            if body is not None:
                (self._endnotes if kind == "endnote" else below).append((mark, body))
        return marks, below

    def _after(
        self,
        paragraph: OdfParagraph,
        notes: Iterable[tuple[str, Element]],
        builder: Builder,
        depth: int,
    ) -> None:
        """What hangs on a paragraph: its frames and footnotes."""
        for frame in paragraph.frames:
            self.blocks(holding(frame), builder, depth + 1)
        self.left_out.update(paragraph.left_out)
        for mark, note in notes:
            self._note(mark, note, builder, depth + 1)

    def _note(self, mark: str, note: Element, builder: Builder, depth: int) -> None:
        inner = Builder()
        self.blocks(note, inner, depth)
        builder.add_note(mark, inner)

    # ---- lists ----

    def _list(
        self,
        element: Element,
        builder: Builder,
        depth: int,
        style: str = "",
        level: int = 1,
        counters: Counters | None = None,
    ) -> None:
        """The items of a list, numbered on from list to list where the file says so."""
        style = element.get("style-name") or style
        counters = counters or self._counters(element, style)
        items = [element] if element.tag == "text.numbered-paragraph" else list(element)
        for item in items:
            is_numbered = item.tag != "text.list-header"
            other = item.get("style-override")
            levels = self.styles.levels(other or style)
            if other:
                self._lists[f"style {other}"] = counters
            for block in walk(item, lambda one: one if self._is_frame(one) else None):
                if block.tag == "text.list" and depth < MAX_DEPTH:
                    inner = other or style
                    self._list(block, builder, depth + 1, inner, level + 1, counters)
                elif block.tag in ("text.p", "text.h"):
                    label = counters.label(level, levels, _start(item)) if is_numbered else ""
                    self._paragraph(block, builder, depth, label, "list")
                    is_numbered = False
                else:
                    self.blocks(holding(block), builder, depth + 1)

    def _counters(self, element: Element, style: str) -> Counters:
        """Those of the list that this one goes on from, or new ones."""
        id = element.get("list-id") or element.get("id")
        goes_on = element.get("continue-list") or element.get("list-id")
        counters = self._lists.get(goes_on or "")
        if not goes_on and element.get("continue-numbering") == "true":
            counters = self._lists.get(f"style {style}")
        counters = counters or Counters()
        self._lists[f"style {style}"] = counters
        if id:
            self._lists[id] = counters
        return counters

    # ---- tables ----

    def _table(self, table: Element, builder: Builder, depth: int) -> None:
        rows = rows_of(table)
        cells = [
            self._cells(row, depth) for row in rows for _ in range(repeated(row, "rows", MAX_SPAN))
        ]
        add_table(cells, builder)

    def _cells(self, row: Element, depth: int) -> list[Builder]:
        """The cells of a row; those that another one covers are empty."""
        found: list[Builder] = []
        for cell in row:
            if cell.tag not in ("table.table-cell", "table.covered-table-cell"):
                continue
            inner = Builder()
            if cell.tag == "table.table-cell":
                self.blocks(cell, inner, depth + 1)
            found += [inner] * repeated(cell, "columns", MAX_SPAN)
        return found


def rows_of(table: Element) -> Iterator[Element]:
    """The rows of a table in order, those of its groups too."""
    inside = walk(table, lambda one: one if one.tag in _FRAMES_OF_ROWS else None)
    return (row for row in inside if row.tag == "table.table-row")


def repeated(element: Element, what: str, most: int) -> int:
    """How often a row or cell comes, at most so often."""
    count = element.get(f"number-{what}-repeated", "1")
    if not count.isdecimal():
        return 1
    return min(int(count), most) if len(count) < 9 else most


def _start(element: Element) -> int | None:
    """The number with which counting begins anew at a heading or an item."""
    start = element.get("start-value", "")
    return int(start) if start.isdecimal() and len(start) < 7 else None


def _level(text: str | None) -> int:
    return int(text) if text is not None and text.isdecimal() and len(text) < 3 else 1


def holding(element: Element) -> Element:
    """An element that holds nothing but this one."""
    holder = Element("holder")
    holder.append(element)
    return holder
