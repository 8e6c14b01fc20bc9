"""What of a passage can be quoted: sentences, lists with the line that leads to them, rows of
tables.

A row says little without the names of its columns, and an item little without the line above its
list. So a part has what stands there, which is quoted, and what it says, which is what questions
are held against and what models see:

    text    Rope | 7 | 12
    said    Item: Rope; Price: 7; Stock: 12
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from understudy.rag.cite import MIN_QUOTE, quote_length, shown
from understudy.text.sentence_ends import sentence_spans

MAX_LIST = 320  # characters of a list that is quoted whole
MAX_HEAD = 400  # of the line with the names of columns
_BAR = re.compile(r"\s*(?<!\\)\|\s*")
_RULE = re.compile(r"[\s|:=-]*-[\s|:=-]*")  # between head and rows, in Markdown
_ITEM = re.compile(r"\s*(?:[-*•–+]|\(?(?:\d{1,3}|[a-z])[.)])\s+\S")
_NUMBER = re.compile(r"[^\w]*\d[\d.,:/ ]*[^\w]*\w{0,3}[^\w]*")
_YEAR = re.compile(r"(?:1[5-9]|20)\d\d")


@dataclass(frozen=True, slots=True)
class Part:
    """`text` is `passage[start:end]` with each white space one blank; `said` is what it says when
    it stands alone.
    """

    text: str
    said: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Line:
    text: str  # without the white space around it
    start: int
    whole: str

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    @property
    def cells(self) -> list[str]:
        """Of a row of a table, else none."""
        row = _row(self.whole)
        return [cell.strip() for cell in _BAR.split(row)] if row else []


def parts_of(passage: str, head: str = "") -> list[Part]:
    """The parts of a passage in their order, each text once.

    Args:
        head: the first row of a table that began before the passage.
    """
    found: dict[str, Part] = {}
    for part in _all_parts(passage, _lines(passage), head):
        found.setdefault(part.text, part)
    return list(found.values())


def head_before(before: str) -> str:
    """The first row of the table that a text ends in, empty where it ends in none."""
    head, table = "", before.rpartition("\n\n")[2]  # a blank line ends one
    for line in reversed(table.splitlines()):
        if not _row(line):
            break
        head = line
    return head if len(head) <= MAX_HEAD else ""


def begins_in_table(passage: str) -> bool:
    """Whether the first line is a row."""
    first = next(iter(_lines(passage)), None)
    return first is not None and bool(first.cells)


def _lines(passage: str) -> list[_Line]:
    """The lines that hold something, without the white space around it."""
    found, at = [], 0
    for line in passage.splitlines(keepends=True):
        if line.strip():
            found.append(_line(line, at))
        at += len(line)
    return found


def _line(line: str, at: int) -> _Line:
    text = line.strip()
    return _Line(text, at + line.index(text), line.rstrip("\r\n"))


def _row(line: str) -> str:
    """The cells of a row with the bars between them; nothing of another line."""
    if line.startswith("|"):  # Markdown
        inside = line.strip().removeprefix("|").removesuffix("|")
        return inside if _BAR.search(inside) else ""
    return line if " | " in f"{line} " else ""


def _all_parts(passage: str, lines: Sequence[_Line], head: str) -> Iterator[Part]:
    at = 0
    while at < len(lines):
        rows = _run(lines, at, lambda line: bool(line.cells))
        if len(rows) > 1 or (rows and at == 0 and head):
            yield from _rows(passage, rows, head if at == 0 else "")
            at += len(rows)
            continue
        leads = lines[at].text.endswith((":", "："))
        items = _run(lines, at + leads, lambda line: bool(_ITEM.match(line.text)))
        if items:
            yield from _list(passage, lines[at] if leads else None, items)
            at += leads + len(items)
            continue
        yield from _sentences(passage, lines[at])
        at += 1


def _run(lines: Sequence[_Line], at: int, belongs: Callable[[_Line], bool]) -> list[_Line]:
    end = at
    while end < len(lines) and belongs(lines[end]):
        end += 1
    return list(lines[at:end])


def _part(passage: str, start: int, end: int, said: str = "") -> Part:
    text = shown(passage[start:end])
    return Part(text, said or text, start, end)


def _sentences(passage: str, line: _Line) -> Iterator[Part]:
    """Without headings, and without what is too short to say anything."""
    if line.text.startswith("#"):
        return
    for start, end in sentence_spans(line.text):
        text = line.text[start:end]
        is_short_line = text == line.text and len(text.split()) > 1
        if quote_length(shown(text)) >= MIN_QUOTE or is_short_line:
            yield _part(passage, line.start + start, line.start + end)


def _list(passage: str, lead: _Line | None, items: Sequence[_Line]) -> Iterator[Part]:
    """A short list as one part, a longer one item by item."""
    first = lead or items[0]
    if items[-1].end - first.start <= MAX_LIST:
        yield _part(passage, first.start, items[-1].end)
        return
    for item in items:
        said = shown(f"{lead.text} {item.text}") if lead else ""
        yield _part(passage, item.start, item.end, said)


def _rows(passage: str, lines: Sequence[_Line], head: str) -> Iterator[Part]:
    rows = [line for line in lines if not _RULE.fullmatch(line.text)]
    names = _line(head, 0).cells
    if not names and rows:
        has_rule = len(rows) < len(lines)
        names = rows[0].cells
        if len(rows) > 1 and (has_rule or _is_head(names, [row.cells for row in rows[1:]])):
            rows = rows[1:]
        else:
            names = []
    for row in rows:
        yield _part(passage, row.start, row.end, shown(_named(names, row.cells)))


def _named(names: Sequence[str], cells: Sequence[str]) -> str:
    """A row with the names of its columns; as it is where these do not fit it."""
    if not names or len(cells) > len(names):
        return ""
    pairs = zip(names, cells, strict=False)
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in pairs if cell)


def _is_head(names: Sequence[str], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a first row names the columns: it holds no number where the others do. Two columns
    of words are a list of pairs.
    """
    numeric = 0
    for i, name in enumerate(names):
        values = [row[i] for row in rows if i < len(row) and row[i]]
        if sum(bool(_NUMBER.fullmatch(value)) for value in values) * 2 <= len(values):
            continue
        numeric += 1
        if _NUMBER.fullmatch(name) and not _YEAR.fullmatch(name):
            return False
    return numeric > 0 or len(names) > 2
