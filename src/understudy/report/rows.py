"""A table as CSV (RFC 4180): what a reader opens in a spreadsheet."""

from __future__ import annotations

import csv
import io

from understudy.report.document import Cell, Table, as_text

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def to_csv(table: Table) -> str:
    """Heads and rows; a text that a spreadsheet would take for a formula begins with an
    apostrophe."""
    written = io.StringIO()
    writer = csv.writer(written)
    writer.writerow(table.heads)
    writer.writerows([_plain(cell) for cell in row] for row in table.rows)
    return written.getvalue()


def _plain(cell: Cell) -> str:
    text = as_text(cell)
    shown = " ".join(part for part in (text.text, text.code) if part)
    return f"'{shown}" if shown.startswith(_FORMULA) and not _is_number(shown) else shown


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True
