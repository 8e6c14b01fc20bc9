"""The four sub-cards of Model Card++. Field names are the templates'."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from understudy.report.document import Cell

Rows = Iterator[tuple[str, Sequence[Cell]]]  # a field's name and what stands in it
