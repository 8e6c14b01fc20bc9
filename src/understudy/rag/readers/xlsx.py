"""Excel workbooks: each visible sheet a heading and a table under its first row; cells as they are
shown, formulas by their results.

ECMA-376 part 1: cells 18.3.1.4, number formats 18.8.30.
"""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from xml.etree.ElementTree import Element

from understudy.rag.document import Builder, Document
from understudy.rag.readers.package import Package
from understudy.rag.readers.table import add_rows

MAX_COLUMNS = 16_384
_REFERENCE = re.compile(r"([A-Z]{1,3})\d+")
_PERCENT = frozenset([9, 10])
_DATES = {
    14: "d",
    15: "d",
    16: "d",
    17: "d",
    18: "t",
    19: "t",
    20: "t",
    21: "t",
    22: "dt",
    45: "t",
    46: "t",
    47: "t",
}
_NOT_SIGNS = re.compile(r'"[^"]*"|\\.|\[[^\]]*\]')


def read(path: Path, data: bytes) -> Document:
    package = Package(path, data, "Excel workbook")
    root = package.relations("").values()
    main = next((name for kind, name in root if kind == "officeDocument"), "xl/workbook.xml")
    book, relations = package.xml(main), package.relations(main)
    parts = dict(relations.values())
    strings = package.optional_xml(parts.get("sharedStrings", ""))
    cells = _Cells(
        [] if strings is None else [_text(item) for item in strings.findall("s.si")],
        _formats(package.optional_xml(parts.get("styles", ""))),
        any(entry.get("date1904") in ("1", "true") for entry in book.iter("s.workbookPr")),
    )
    builder = Builder(package.title())
    for sheet in book.iter("s.sheet"):
        _, name = relations.get(sheet.get("r.id", ""), ("", ""))
        part = package.optional_xml(name)
        if part is None or sheet.get("state", "visible") != "visible":
            builder.warnings.append(f"left out: sheet {sheet.get('name', '')}")
            continue
        rows = [row for entry in part.iter("s.row") if any(row := cells.row(entry))]
        if rows:
            builder.add(sheet.get("name", ""), "heading", 1)
            add_rows(rows, builder)
    builder.title = builder.title or path.stem
    return builder.build()


class _Cells:
    def __init__(self, strings: list[str], formats: list[str], is_1904: bool) -> None:
        self.strings, self.formats = strings, formats
        self.first_day = (
            datetime.datetime(1904, 1, 1) if is_1904 else datetime.datetime(1899, 12, 30)
        )

    def row(self, row: Element) -> list[str]:
        """The cells of a row, each at its column."""
        found: list[str] = []
        for cell in row.findall("s.c"):
            match = _REFERENCE.match(cell.get("r", ""))
            column = _column(match[1]) if match else len(found)
            if column < MAX_COLUMNS:
                found += [""] * (column - len(found))
                found.append(self._shown(cell))
        return found

    def _shown(self, cell: Element) -> str:
        kind, value = cell.get("t", "n"), cell.findtext("s.v") or ""
        if kind == "inlineStr":
            return _text(cell)
        if kind == "s":
            known = value.isdecimal() and int(value) < len(self.strings)
            return self.strings[int(value)] if known else ""
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        style = cell.get("s", "0")
        number = int(style) if style.isdecimal() else 0
        form = self.formats[number] if number < len(self.formats) else ""
        return self._number(value, form) if kind == "n" and form and value else value

    def _number(self, value: str, form: str) -> str:
        """A number by what its format makes of it: a date, a time, a percentage."""
        try:
            if form == "%":
                return f"{float(value) * 100:.10g}%"
            moment = self.first_day + datetime.timedelta(days=float(value))
        except (ValueError, OverflowError):
            return value
        moment += datetime.timedelta(microseconds=500_000)
        clock = f"{moment:%H:%M:%S}"
        return {"d": f"{moment:%Y-%m-%d}", "t": clock}.get(form, f"{moment:%Y-%m-%d} {clock}")


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1


def _text(element: Element) -> str:
    """The text of a string; readings of Japanese names (`rPh`) are not shown."""
    parts = [element.find("s.is"), element]
    holder = next(part for part in parts if part is not None)
    runs = [*holder.findall("s.t")] + [
        t for run in holder.findall("s.r") for t in run.findall("s.t")
    ]
    return "".join(t.text or "" for t in runs)


def _formats(styles: Element | None) -> list[str]:
    """Of each cell style: `d`, `t` or `dt` for dates and times, `%`, or nothing."""
    if styles is None:
        return []
    own = {entry.get("numFmtId"): entry.get("formatCode", "") for entry in styles.iter("s.numFmt")}
    found = []
    for entry in styles.findall("s.cellXfs/s.xf"):
        id = entry.get("numFmtId", "0")
        if id in own:
            found.append(_kind(own[id]))
        else:
            number = int(id) if id.isdecimal() else 0
            found.append("%" if number in _PERCENT else _DATES.get(number, ""))
    return found


def _kind(code: str) -> str:
    signs = _NOT_SIGNS.sub("", code).lower().split(";")[0]
    if "%" in signs:
        return "%"
    if "general" in signs:
        return ""
    return ("d" if "y" in signs or "d" in signs else "") + (
        "t" if "h" in signs or "s" in signs else ""
    )
