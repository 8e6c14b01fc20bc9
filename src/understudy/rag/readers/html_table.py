"""HTML tables as rows of text: cells that span rows stand in each of them, so that a row found
alone still says what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_COLUMNS_SPANNED = 64
MAX_REPEATED = 200  # characters of a cell that are written again in the rows below
FREE_REPEATS = (
    1 << 14
)  # characters that a table may repeat; beyond, no more than four times its own text


@dataclass(slots=True)
class Grid:
    """Takes the cells of a table as they come and gives its rows, columns in line."""

    rows: list[list[str]] = field(default_factory=list)
    _below: dict[int, tuple[str, int]] = field(
        default_factory=dict
    )  # column -> (text, rows to come)
    _allowed: int = FREE_REPEATS

    def begin_row(self) -> None:
        self.rows.append([])
        if self._allowed <= 0:
            self._below.clear()

    def begin_group(self) -> None:
        """No cell reaches from `thead` into `tbody`."""
        self._below.clear()

    def add(self, text: str, num_columns: int, num_rows: int) -> None:
        """Adds a cell to the row begun last.

        Args:
            num_rows: 0 for all that come in its group, as the standard has it.
        """
        if not self.rows:
            self.begin_row()
        row = self.rows[-1]
        self._allowed += 4 * len(text) + 16
        self._fill(row)
        row.append(text)
        if num_rows != 1:
            repeated = text if len(text) <= MAX_REPEATED else ""
            self._below[len(row) - 1] = repeated, num_rows - 1 if num_rows else 1 << 16
        row += [""] * (min(num_columns, MAX_COLUMNS_SPANNED) - 1)

    def end_row(self) -> None:
        if self.rows:
            self._fill(self.rows[-1])

    def _fill(self, row: list[str]) -> None:
        """Writes what comes from above into the columns that are next."""
        while (entry := self._below.get(len(row))) is not None and self._allowed > 0:
            text, left = entry
            column = len(row)
            self._allowed -= len(text) + 3
            row.append(text)
            if left > 1:
                self._below[column] = text, left - 1
            else:
                del self._below[column]


def span(value: str | None) -> int:
    """`colspan` or `rowspan`: a number, 1 where it says nothing."""
    text = (value or "").strip()
    return min(int(text), 1 << 16) if text.isascii() and text.isdecimal() and len(text) < 9 else 1


def shown_rows(grid: Grid) -> Iterator[list[str]]:
    for row in grid.rows:
        while row and not row[-1]:
            row.pop()
        if row:
            yield row
