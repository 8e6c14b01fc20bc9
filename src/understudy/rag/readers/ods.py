"""OpenDocument sheets (`.ods`): each visible one a heading and a table under its first row; cells
with the text that they show.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from understudy.rag.document import Builder, Document
from understudy.rag.readers.odf import OdfBlocks, package_of, repeated, rows_of
from understudy.rag.readers.table import add_rows

MAX_COLUMNS = 16_384
MAX_CELLS = 1 << 20  # of one sheet: few bytes may stand for equal rows and cells without end


def read(path: Path, data: bytes) -> Document:
    blocks = OdfBlocks(package_of(path, data, "OpenDocument sheet"))
    body = blocks.content.find("office.body/office.spreadsheet")
    for sheet in () if body is None else body.findall("table.table"):
        name = sheet.get("name", "")
        if blocks.styles.property(sheet.get("style-name"), "table", "display") == "false":
            blocks.builder.warnings.append(f"left out: sheet {name}")
            continue
        rows, num_cells = [], 0
        for cells, count in _rows(sheet, blocks):
            count = min(count, (MAX_CELLS - num_cells) // len(cells))
            if not count:
                blocks.builder.warnings.append(f"cut: sheet {name} after {MAX_CELLS:,} cells")
                break
            rows += [cells] * count
            num_cells += count * len(cells)
        if rows:
            blocks.builder.add(name, "heading", 1)
            add_rows(rows, blocks.builder)
    return blocks.built()


def _rows(sheet: Element, blocks: OdfBlocks) -> Iterator[tuple[list[str], int]]:
    """The rows that hold something, each cell at its column, and how often each comes."""
    for row in rows_of(sheet):
        cells: list[str] = []
        for cell in row:
            if cell.tag in ("table.table-cell", "table.covered-table-cell"):
                count = repeated(cell, "columns", MAX_COLUMNS - len(cells))
                cells += [_shown(cell, blocks)] * count
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            yield cells, repeated(row, "rows", MAX_CELLS)


def _shown(cell: Element, blocks: OdfBlocks) -> str:
    """The text of a cell; the value where the file brings none."""
    if not len(cell):
        given = (cell.get(name) for name in ("string-value", "date-value", "time-value", "value"))
        return next(filter(None, given), "")
    inner = Builder()
    blocks.blocks(cell, inner, 1)
    return "\n".join(text for text, _ in inner.contents())
