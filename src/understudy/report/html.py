"""A document as one HTML file: no script, nothing loaded, light, dark and printable; every text
escaped."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable

from understudy.report.charts import svg
from understudy.report.document import (
    SHOWN,
    Bars,
    Beside,
    Block,
    Cell,
    Fields,
    Folded,
    Heading,
    HeatMap,
    Intervals,
    KeyFigure,
    KeyFigures,
    Lines,
    Links,
    Listing,
    Prose,
    Quote,
    ReportDocument,
    Table,
    as_text,
)
from understudy.report.rows import to_csv
from understudy.report.style import PAGE
from understudy.report.text import visible

_CSV_ROWS = 3
_SHORT = 24  # characters of a cell that is not broken inside words
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def to_html(document: ReportDocument) -> str:
    """The page. ASCII only, so that no reader can take its bytes for another encoding."""
    title = _escape(document.title)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{title}</title><style>{PAGE}</style>"
    )
    subtitle = f"<p>{_escape(document.subtitle)}</p>"
    top = f"<header><h1>{title}</h1>{subtitle}{_navigation(document)}</header>"
    body = "".join(f"<section>{section}</section>\n" for section in _sections(document))
    text = (
        f'<!doctype html><html lang="en"><head>{head}</head>'
        f"<body><main>{top}\n{body}</main></body></html>\n"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _navigation(document: ReportDocument) -> str:
    items = []
    for link in document.pages:
        text = _escape(link.text)
        is_here = link.stem == document.stem
        items.append(f"<b>{text}</b>" if is_here else f'<a href="{link.stem}.html">{text}</a>')
    return f"<nav>{''.join(items)}</nav>" if items else ""


def _sections(document: ReportDocument) -> list[str]:
    """Each heading of the second level begins one."""
    sections = [""]
    for block in document.blocks:
        if isinstance(block, Heading) and block.level == 2 and sections[-1]:
            sections.append("")
        sections[-1] += _block(block)
    return [section for section in sections if section]


def _escape(text: str, limit: int = SHOWN) -> str:
    return html.escape(visible(text, limit))


def inline(cell: Cell) -> str:
    text = as_text(cell)
    shown = _escape(text.text)
    code = f"<code>{_escape(text.code)}</code>" if text.code else ""
    runs = "".join(f'<sup><a href="#run-{run}">[{run}]</a></sup>' for run in text.runs)
    if text.kind == "missing":
        then = f": run {code}" if code else ""
        return f'<span class="missing"><b>{shown}</b>{then}</span>{runs}'
    if text.kind == "strong":
        shown = f"<b>{shown}</b>"
    elif text.kind != "plain":
        shown = f'<span class="{text.kind}">{shown}</span>'
    return f"{shown}{' ' if shown and code else ''}{code}{runs}"


def _block(block: Block) -> str:
    match block:
        case Heading():
            anchor = f' id="{block.anchor}"' if block.anchor else ""
            return f"<h{block.level}{anchor}>{_escape(block.text)}</h{block.level}>"
        case Prose():
            return f"<p>{' '.join(inline(part) for part in block.parts)}</p>"
        case Quote():
            label = f"<small>{_escape(block.label)}</small>" if block.label else ""
            text = html.escape(visible(block.text, block.limit, keeps_lines=True))
            return f"<blockquote>{label}{text}</blockquote>"
        case Listing():
            text = html.escape(visible(block.text, block.limit, keeps_lines=True))
            return f"<pre><code>{text}</code></pre>"
        case Fields():
            return f"<table>{''.join(map(_field, block.rows))}</table>"
        case KeyFigures():
            return f'<div class="key">{"".join(map(_key_figure, block.figures))}</div>'
        case Table():
            return _table(block)
        case Beside():
            return f'<div class="beside">{"".join(map(_block, block.quotes))}</div>'
        case Intervals() | Lines() | Bars() | HeatMap():
            caption = f"<figcaption>{_escape(block.caption)}</figcaption>"
            return f"<figure>{caption}{svg(block)}</figure>"
        case Links():
            return _links(block)
        case Folded():
            inside = "".join(map(_folded, block.blocks))
            return f"<details><summary>{_escape(block.summary)}</summary>{inside}</details>"


def _folded(block: Block) -> str:
    """A table that is long enough to be worked with can be taken away as a file."""
    if not isinstance(block, Table) or len(block.rows) < _CSV_ROWS:
        return _block(block)
    content = base64.b64encode(to_csv(block).encode()).decode()
    link = f'<a download="table.csv" href="data:text/csv;base64,{content}">CSV</a>'
    return f'<p class="csv">{link}</p>{_block(block)}'


def _field(row: tuple[str, Iterable[Cell]]) -> str:
    name, parts = row
    answer = "<br>".join(inline(part) for part in parts)
    return f'<tr><td class="field">{_escape(name)}</td><td>{answer}</td></tr>'


def _key_figure(one: KeyFigure) -> str:
    kind = f' class="{one.kind}"' if one.kind in ("good", "bad") else ""
    note = f"<small>{_escape(one.note)}</small>" if one.note else ""
    return f"<div><span>{_escape(one.label)}</span><b{kind}>{_escape(one.value)}</b>{note}</div>"


def _links(block: Links) -> str:
    items = []
    for link in block.links:
        about = f"<span>{_escape(link.about)}</span>"
        items.append(f'<li><a href="{link.stem}.html">{_escape(link.text)}{about}</a></li>')
    return f'<ul class="pages">{"".join(items)}</ul>'


def _table(table: Table) -> str:
    def kind(i: int, cell: Cell) -> str:
        if i in table.numeric:
            return ' class="n"'
        text = as_text(cell)
        return (
            ' class="s"' if len(text.text) <= _SHORT and not text.code else ""
        )  # words stay whole

    heads = "".join(
        f"<th{kind(i, name)}>{_escape(name)}</th>" for i, name in enumerate(table.heads)
    )
    rows = []
    for number, row in enumerate(table.rows):
        anchor = f' id="{table.anchors[number]}"' if table.anchors else ""
        cells = "".join(f"<td{kind(i, cell)}>{inline(cell)}</td>" for i, cell in enumerate(row))
        rows.append(f"<tr{anchor}>{cells}</tr>")
    head = f"<thead><tr>{heads}</tr></thead>" if any(table.heads) else ""
    return f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"
