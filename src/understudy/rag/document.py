"""A document after reading: one text, and spans of it that are headings, paragraphs, tables, lists
or code.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# Soft hyphens, zero-width blanks, joiners and marks: nobody sees them, and they would cut words and
# spoil quotes.
_UNSEEN = dict.fromkeys([0xAD, 0x200B, 0x2060, 0xFEFF])

Kind = Literal["heading", "paragraph", "table", "code", "list"]


@dataclass(frozen=True, slots=True)
class DocumentBlock:
    """`text[start:end]` of the document; `level` is 1 to 6 for headings."""

    start: int
    end: int
    kind: Kind = "paragraph"
    level: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A text with its blocks in order; `page_starts[i]` is where page i + 1 begins, empty without
    pages.
    """

    text: str
    blocks: tuple[DocumentBlock, ...]
    title: str = ""
    page_starts: tuple[int, ...] = ()
    warnings: tuple[str, ...] = ()

    def page_at(self, offset: int) -> int | None:
        """The page, counted from 1, on which a character stands."""
        return bisect.bisect_right(self.page_starts, offset) if self.page_starts else None


@dataclass(slots=True)
class Builder:
    """Puts a document together block by block, blank lines between them."""

    title: str = ""
    parts: list[str] = field(default_factory=list)
    blocks: list[DocumentBlock] = field(default_factory=list)
    page_starts: list[int] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    length: int = 0

    def page(self) -> None:
        self.page_starts.append(self.length)

    def add(self, text: str, kind: Kind = "paragraph", level: int = 0) -> None:
        text = text.translate(_UNSEEN).strip("\n").rstrip()
        if not text.strip():
            return
        if self.parts:
            self.parts.append("\n\n")
            self.length += 2
        self.blocks.append(DocumentBlock(self.length, self.length + len(text), kind, level))
        self.parts.append(text)
        self.length += len(text)
        if not self.title and kind == "heading":
            self.title = text

    def contents(self) -> Iterator[tuple[str, DocumentBlock]]:
        """(text, block) of what was added so far."""
        return zip(self.parts[::2], self.blocks, strict=True)

    def add_note(self, mark: str, note: Builder) -> None:
        """Adds what a note holds as one block behind its mark; nothing of an empty one."""
        texts = [text.strip() for text, _ in note.contents()]
        self.add(f"{mark} " * bool(mark) + "\n".join(texts) if texts else "")

    def warn_of(self, left_out: Mapping[str, int]) -> None:
        """Names what a reader does not show, with its count."""
        self.warnings += [
            f"left out: {count} {what}{'s' if count > 1 else ''}"
            for what, count in sorted(left_out.items())
            if count
        ]

    def build(self) -> Document:
        return Document(
            "".join(self.parts),
            tuple(self.blocks),
            self.title,
            tuple(self.page_starts),
            tuple(self.warnings),
        )


def table_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines of cells between bars, each cell on one line."""
    return "\n".join(
        " | ".join(" ".join(cell.split()) for cell in row)
        for row in rows
        if any(cell.strip() for cell in row)
    )


def add_table(rows: Sequence[Sequence[Builder]], builder: Builder) -> None:
    """Adds rows of cells as lines; a cell that holds more than paragraphs, and a table of one
    column, gives its blocks instead.
    """
    lines: list[list[str]] = []
    is_narrow = all(len(row) <= 1 for row in rows)
    for row in rows:
        blocks = [block for cell in row for block in cell.contents()]
        if is_narrow or any(b.kind in ("heading", "table") for _, b in blocks):
            builder.add(table_text(lines), "table")
            lines.clear()
            for text, block in blocks:
                builder.add(text, block.kind, block.level)
        else:
            lines.append([" ".join(text for text, _ in cell.contents()) for cell in row])
    builder.add(table_text(lines), "table")
