"""CSV and TSV: each row becomes one line `column: value; column: value`, so that a row found alone
still says what it is.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document
from understudy.rag.readers import decode
from understudy.rag.readers.delimiter import Dialect, find_dialect

MAX_CELL = 1 << 20


def read(path: Path, data: bytes) -> Document:
    text = decode(path, data)
    is_tsv = path.suffix.lower() == ".tsv"
    dialect = Dialect("\t") if is_tsv else find_dialect(text)
    lines = io.StringIO(text[dialect.start :], newline="")
    csv.field_size_limit(MAX_CELL)
    builder = Builder(path.stem)
    rows = csv.reader(lines, delimiter=dialect.delimiter, escapechar=dialect.escape)
    try:
        filled = [row for row in rows if row]
    except csv.Error as error:
        raise DocumentError(
            f"table cannot be read ({error})", where=f"{path}: line {rows.line_num}"
        ) from error
    add_rows(filled, builder)
    return builder.build()


def add_rows(rows: list[list[str]], builder: Builder) -> None:
    """Adds each row under the names in the first; a table of one row is that row."""
    header = [" ".join(name.split()) for name in rows[0]] if rows else []
    for line in [_line(header, row) for row in rows[1:]] or ["; ".join(header)]:
        builder.add(line, "table")


def _line(header: list[str], row: list[str]) -> str:
    cells = [" ".join(cell.split()) for cell in row]
    names = [
        header[i] if i < len(header) and header[i] else f"column {i + 1}" for i in range(len(cells))
    ]
    return "; ".join(f"{name}: {cell}" for name, cell in zip(names, cells, strict=True) if cell)
