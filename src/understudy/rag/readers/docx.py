"""Word documents (ECMA-376): what a person sees in print, in its order.

Tracked insertions and moves stand, deletions do not; content controls, fields, text boxes,
formulas, notes, headers and footers, nested tables and the numbers of lists are text like any
other. `docs/compatibility/documents.md` has the table.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from xml.etree.ElementTree import Element

from understudy.rag.document import Builder, Document, add_table
from understudy.rag.readers.docx_runs import HIDDEN, Paragraph, Runs, visible_part
from understudy.rag.readers.docx_styles import Styles, is_on, roman
from understudy.rag.readers.package import Package, walk
from understudy.rag.readers.symbols import raised

MAX_DEPTH = (
    30  # of tables in tables and boxes in boxes; below, only their paragraphs are told apart
)
MAX_SPAN = 64  # columns


def read(path: Path, data: bytes) -> Document:
    package = Package(path, data, "Word document")
    root = package.relations("")
    main = next((name for kind, name in root.values() if kind == "officeDocument"), None)
    return _Word(package, main or "word/document.xml").document()


class _Word:
    """One document while it is read."""

    def __init__(self, package: Package, main: str) -> None:
        self.package, self.builder = package, Builder(package.title())
        self.body = package.xml(main)
        self.relations = package.relations(main)
        self.styles = Styles(self._part("styles"), self._part("numbering"))
        self.runs = Runs(self.styles)
        self.notes = {kind: self._notes(kind) for kind in ("footnote", "endnote")}
        self.num_notes: Counter[str] = Counter()
        self.endnotes: list[tuple[str, Element]] = []
        self.left_out: Counter[str] = Counter()

    def document(self) -> Document:
        headers, footers = self._margins("header"), self._margins("footer")
        for part in headers:
            self._blocks(part, self.builder, 1)
        for body in self.body.findall("w.body"):
            self._blocks(body, self.builder, 0)
        for mark, note in self.endnotes:
            self._note(mark, note, self.builder, 1)
        for part in footers:
            self._blocks(part, self.builder, 1)
        comments = self._part("comments")
        self.left_out["comment"] += 0 if comments is None else len(comments.findall("w.comment"))
        self.builder.warn_of(self.left_out)
        self.builder.title = self.builder.title or self.package.path.stem
        return self.builder.build()

    # ---- parts ----

    def _part(self, kind: str) -> Element | None:
        name = next((name for k, name in self.relations.values() if k == kind), None)
        return None if name is None else self.package.optional_xml(name)

    def _notes(self, kind: str) -> dict[str, Element]:
        root = self._part(f"{kind}s")
        return {
            note.get("id", ""): note
            for note in ([] if root is None else root.findall(f"w.{kind}"))
            if note.get("type", "normal") == "normal"
        }

    def _margins(self, kind: str) -> list[Element]:
        """The headers or footers that are shown, each part once; one for first or even pages only
        where those differ.
        """
        settings = self._part("settings")
        has_even = bool(is_on(settings, "w.evenAndOddHeaders"))
        names: dict[str, None] = {}
        for section in self.body.iter("w.sectPr"):
            shown = {
                "default",
                *(["even"] if has_even else []),
                *(["first"] if is_on(section, "w.titlePg") else []),
            }
            for entry in section.findall(f"w.{kind}Reference"):
                if entry.get("type", "default") in shown:
                    names[self.relations.get(entry.get("r.id", ""), ("", ""))[1]] = None
        parts = (self.package.optional_xml(name) for name in names)
        return [part for part in parts if part is not None]

    # ---- blocks ----

    def _blocks(self, parent: Element, builder: Builder, depth: int) -> None:
        """Adds the paragraphs and tables of a body, cell, note or box."""
        if depth > MAX_DEPTH:
            for element in parent.iter("w.p"):
                builder.add(self.runs.read(element).text)
            return
        carried = ""  # the text of a paragraph whose end was deleted runs on into the next
        for element in walk(parent, visible_part, hidden=HIDDEN):
            if element.tag == "w.p":
                carried = self._paragraph(element, builder, depth, carried)
            elif element.tag == "w.tbl":
                self._table(element, builder, depth)
            elif element.tag in ("w.altChunk", "w.subDoc"):
                self.left_out["embedded document"] += 1
        builder.add(carried)

    def _paragraph(self, element: Element, builder: Builder, depth: int, carried: str) -> str:
        properties = element.find("w.pPr")
        paragraph = self.runs.read(element)
        marks, notes = self._numbered(paragraph)
        text = carried + paragraph.text_with(marks)
        mark = None if properties is None else properties.find("w.rPr")
        if mark is not None and (
            mark.find("w.del") is not None or mark.find("w.moveFrom") is not None
        ):
            self._after(paragraph, notes, builder, depth)
            return text
        look = self.styles.look(properties)
        if text.strip() and look.label.strip():
            text = f"{look.label.strip()} {text.strip()}"
        builder.add(text, look.kind, look.level)
        self._after(paragraph, notes, builder, depth)
        return ""

    def _numbered(self, paragraph: Paragraph) -> tuple[list[str], list[tuple[str, Element]]]:
        """(the mark of each note, the footnotes to come below); endnotes wait for the end."""
        marks: list[str] = []
        below: list[tuple[str, Element]] = []
        for kind, id, has_own_mark in paragraph.notes:
            note = self.notes[kind].get(id)
            if note is None or has_own_mark:
                mark = ""
            else:
                self.num_notes[kind] += 1
                count = self.num_notes[kind]
                mark = str(count) if kind == "footnote" else roman(count) or str(count)
                mark = raised(mark)
            marks.append(mark)
            if note is not None:
                (below if kind == "footnote" else self.endnotes).append((mark, note))
        return marks, below

    def _after(
        self, paragraph: Paragraph, notes: list[tuple[str, Element]], builder: Builder, depth: int
    ) -> None:
        """What hangs on a paragraph: its boxes, diagrams and footnotes."""
        for box in paragraph.boxes:
            self._blocks(box, builder, depth + 1)
        for id in paragraph.diagrams:
            self._diagram(id, builder)
        self.left_out.update(paragraph.left_out)
        for mark, note in notes:
            self._note(mark, note, builder, depth + 1)

    def _note(self, mark: str, note: Element, builder: Builder, depth: int) -> None:
        inner = Builder()
        self._blocks(note, inner, depth)
        builder.add_note(mark, inner)

    def _diagram(self, id: str, builder: Builder) -> None:
        """SmartArt: the texts of its points, in the order of its data."""
        root = self.package.optional_xml(self.relations.get(id, ("", ""))[1])
        for body in () if root is None else root.iter("t"):
            builder.add("".join(part.text or "" for part in body.iter("a.t")))

    # ---- tables ----

    def _table(self, table: Element, builder: Builder, depth: int) -> None:
        elements = [e for e in walk(table, visible_part, hidden=HIDDEN) if e.tag == "w.tr"]
        shown = [row for row in elements if row.find("w.trPr/w.del") is None]
        add_table([self._cells(row, depth) for row in shown], builder)

    def _cells(self, row: Element, depth: int) -> list[Builder]:
        """The cells of a row; a cell that spans columns is followed by empty ones, one that goes on
        from above is empty. A row may leave out the first columns.
        """
        left_out = row.find("w.trPr/w.gridBefore")
        found = [Builder() for _ in range(0 if left_out is None else _width(left_out))]
        for cell in walk(row, visible_part, hidden=HIDDEN):
            properties = cell.find("w.tcPr")
            if cell.tag != "w.tc" or (
                properties is not None and properties.find("w.cellDel") is not None
            ):
                continue
            inner = Builder()
            self._blocks(cell, inner, depth + 1)
            found.append(inner)
            span = None if properties is None else properties.find("w.gridSpan")
            found += [Builder() for _ in range(0 if span is None else _width(span) - 1)]
        return found


def _width(span: Element) -> int:
    """How many columns a cell or a gap is wide."""
    width = span.get("val", "1")
    return min(int(width), MAX_SPAN) if width.isdecimal() else 1
