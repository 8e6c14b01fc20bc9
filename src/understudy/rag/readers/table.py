"""CSV and TSV: each row becomes one line `column: value; column: value`, so that a row found alone still says what it is."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document
from understudy.rag.readers import decode

MAX_CELL = 1 << 20


def read(path: Path, data: bytes) -> Document:
    text = decode(path, data)
    csv.field_size_limit(MAX_CELL)
    try:
        chat_template = (
            csv.Sniffer().sniff(text[:16384], ",;\t|")
            if path.suffix.lower() == ".csv"
            else csv.excel_tab
        )
    except csv.Error:
        chat_template = csv.excel
    builder = Builder(path.stem)
    try:
        rows = csv.reader(io.StringIO(text), chat_template)
        header = [name.strip() for name in next(rows, [])]
        lines = [_line(header, row) for row in rows]
    except csv.Error as error:
        raise DocumentError(f"table cannot be read ({error})", where=path) from error
    for line in lines or ["; ".join(header)]:
        builder.add(line, "table")
    return builder.build()


def _line(header: list[str], row: list[str]) -> str:
    cells = [" ".join(cell.split()) for cell in row]
    names = [
        header[i] if i < len(header) and header[i] else f"column {i + 1}" for i in range(len(cells))
    ]
    return "; ".join(f"{name}: {cell}" for name, cell in zip(names, cells, strict=True) if cell)
