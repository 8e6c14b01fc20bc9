"""Line numbers in the margin of a PDF page, as manuscripts and review copies have them, taken out
of the lines that they stand before, so that sentences run on.

    lines, numbers = without_line_numbers(lines)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from understudy.rag.readers.pdf_lines import PageLine

MIN_LINES = 8  # that are numbered one after the other
FULL_SHARE = 0.5  # of them that reach the right edge: text runs on, rows of a table do not
GAP = 0.5  # heights between a number and its line
_NUMBER = re.compile(r"\d{1,4}\Z")


def without_line_numbers(lines: Sequence[PageLine]) -> tuple[list[PageLine], list[str]]:
    """The lines of a page without the numbers before them, and those numbers."""
    numbers: list[str] = []
    kept = list(lines)
    for run in _runs(lines):
        if len(run) < MIN_LINES or not _is_text([lines[i] for i in run]):
            continue
        for i in run:
            line = lines[i]
            number, _, rest = line.text.partition(" ")
            numbers.append(number)
            kept[i] = replace(line, text=rest, left=line.behind_number or line.left)
    return [line for line in kept if line.text], numbers


def _runs(lines: Sequence[PageLine]) -> list[list[int]]:
    """Lines that begin with numbers that count up; others may stand between them."""
    runs: list[list[int]] = []
    last = -1
    for i, line in enumerate(lines):
        first = line.text.partition(" ")[0]
        gap = (line.behind_number or line.left) - line.number_end
        is_number = _NUMBER.match(first) and (first == line.text or gap > GAP * line.height)
        if not is_number:
            continue
        if int(first) == last + 1 and runs:
            runs[-1].append(i)
        else:
            runs.append([i])
        last = int(first)
    return runs


def _is_text(lines: Sequence[PageLine]) -> bool:
    """Whether most of them are full, as lines of sentences are."""
    edge = max(line.right for line in lines)
    full = [line for line in lines if edge - line.right < 2 * line.height]
    return len(full) >= FULL_SHARE * len(lines)
