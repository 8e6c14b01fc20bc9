"""A document as one HTML file: no script, nothing loaded, light and dark, printable; every text escaped."""

from __future__ import annotations

import html

from understudy.judge.cards.document import (
    SHOWN,
    Block,
    Cell,
    Document,
    Fields,
    Heading,
    Intervals,
    Links,
    Paragraph,
    Table,
    as_text,
)
from understudy.judge.cards.figures import svg
from understudy.judge.safety.report import visible

_SHORT = 24  # characters of a cell that is not broken inside words
_STYLE = """
:root{--ink:#1d2430;--soft:#5a6473;--line:#e1e5ea;--paper:#fff;--back:#f4f6f8;--accent:#1f4e8c;--interval:#5b7fb5;--mark:#a3430f;
--mark-interval:#d08a5a;--warn:#8a5a00;--warn-back:#fff4d9;--none:#5a6473;--none-back:#eef1f4}
@media(prefers-color-scheme:dark){:root{--ink:#e4e8ee;--soft:#9aa5b4;--line:#2d3542;--paper:#161b23;--back:#0f1319;--accent:#a9c7f2;
--interval:#5b85c4;--mark:#f3b58a;--mark-interval:#c9793f;--warn:#f0c674;--warn-back:#3a2f14;--none:#9aa5b4;--none-back:#232b36}}
*{box-sizing:border-box}html{color-scheme:light dark;scroll-behavior:smooth}
body{margin:0;background:var(--back);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:68rem;margin:0 auto;padding:1rem 1.2rem 4rem}
header{padding:2.2rem 0 1rem}h1{font-size:2rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
header p{color:var(--soft);margin:0;overflow-wrap:anywhere}
nav{display:flex;flex-wrap:wrap;gap:.4rem;margin:1.2rem 0 0}
nav a,nav b{padding:.3rem .8rem;border:1px solid var(--line);border-radius:2rem;background:var(--paper);text-decoration:none;font-weight:500}
nav b{background:var(--accent);color:var(--paper);border-color:var(--accent)}
section{background:var(--paper);border:1px solid var(--line);border-radius:.8rem;padding:.4rem 1.4rem 1.2rem;margin:1.2rem 0;overflow-x:auto}
h2{font-size:1.25rem;margin:1rem 0 .5rem}h3{font-size:1.05rem;margin:1.4rem 0 .3rem}p{margin:.6rem 0}
a{color:var(--accent)}table{border-collapse:collapse;width:100%;margin:.6rem 0;font-size:.93rem}
th,td{padding:.4rem .7rem .4rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line);overflow-wrap:anywhere}th,td.s{overflow-wrap:normal}
th{color:var(--soft);font-weight:600;font-size:.83rem}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr:last-child td{border-bottom:0}tr:target td{background:var(--warn-back)}
td{min-width:4.5rem}td.field{width:34%;color:var(--soft)}code{font:.86em/1.4 ui-monospace,Menlo,Consolas,monospace;background:var(--back);border-radius:.3rem;padding:.1rem .35rem;overflow-wrap:anywhere}
.missing,.unstated{border-radius:.4rem;padding:.08rem .5rem;font-size:.9em}
.missing{color:var(--warn);background:var(--warn-back)}.missing b:before{content:"\\26A0\\00A0"}.unstated{color:var(--none);background:var(--none-back)}
.good{color:var(--accent);font-weight:600}.bad{color:var(--mark);font-weight:600}
sup{line-height:0}sup a{text-decoration:none;font-size:.8em;padding:0 .1em}figure{margin:.8rem 0}svg{width:100%;max-width:50rem;height:auto;display:block}
figcaption{color:var(--soft);font-size:.88rem}svg text{font:12px system-ui,sans-serif;fill:var(--ink)}svg .number{fill:var(--soft);font-variant-numeric:tabular-nums}
.axis{stroke:var(--line)}.reference{stroke:var(--soft);stroke-dasharray:3 3}.interval{stroke:var(--interval);stroke-width:4;stroke-linecap:round}
.dot{fill:var(--accent)}.marked .interval{stroke:var(--mark-interval)}.marked .dot{fill:var(--mark)}
ul.pages{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.7rem}
ul.pages a{display:block;height:100%;border:1px solid var(--line);border-radius:.6rem;padding:.7rem .9rem;text-decoration:none;font-weight:600}
ul.pages span{display:block;color:var(--soft);font-weight:400;font-size:.88rem}
@media(max-width:40rem){section{padding:.2rem .9rem .8rem}td.field{width:40%}h1{font-size:1.5rem}}
@media print{:root{--ink:#000;--soft:#444;--line:#ccc;--paper:#fff;--back:#fff;--accent:#1f4e8c;--interval:#5b7fb5;--mark:#a3430f;
--mark-interval:#d08a5a;--warn:#7a4a00;--warn-back:#fff4d9;--none:#444;--none-back:#eee}body,section{background:#fff;color:#000}section{border:0;padding:0;overflow:visible}nav{display:none}
tr,figure{break-inside:avoid}h2,h3{break-after:avoid}}
""".replace("\n", "")


def to_html(document: Document) -> str:
    """The page. ASCII only, so that no reader can take its bytes for another encoding."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{_escape(document.title)}</title><style>{_STYLE}</style>'
    )
    top = f"<header><h1>{_escape(document.title)}</h1><p>{_escape(document.subtitle)}</p>{_navigation(document)}</header>"
    body = "".join(f"<section>{section}</section>\n" for section in _sections(document))
    text = f'<!doctype html><html lang="en"><head>{head}</head><body><main>{top}\n{body}</main></body></html>\n'
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _navigation(document: Document) -> str:
    items = [
        f"<b>{_escape(link.text)}</b>"
        if link.stem == document.stem
        else f'<a href="{link.stem}.html">{_escape(link.text)}</a>'
        for link in document.pages
    ]
    return f"<nav>{''.join(items)}</nav>" if items else ""


def _sections(document: Document) -> list[str]:
    """Each heading of the second level begins one."""
    sections = [""]
    for block in document.blocks:
        if isinstance(block, Heading) and block.level == 2 and sections[-1]:
            sections.append("")
        sections[-1] += _block(block)
    return [section for section in sections if section]


def _escape(text: str) -> str:
    return html.escape(visible(text, SHOWN))


def inline(cell: Cell) -> str:
    text = as_text(cell)
    shown = _escape(text.text)
    code = f"<code>{_escape(text.code)}</code>" if text.code else ""
    runs = "".join(f'<sup><a href="#run-{run}">[{run}]</a></sup>' for run in text.runs)
    if text.kind == "missing":
        return f'<span class="missing"><b>{shown}</b>{": run " if code else ""}{code}</span>{runs}'
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
        case Paragraph():
            return f"<p>{' '.join(inline(part) for part in block.parts)}</p>"
        case Fields():
            rows = (
                f'<tr><td class="field">{_escape(name)}</td><td>{"<br>".join(inline(part) for part in parts)}</td></tr>'
                for name, parts in block.rows
            )
            return f"<table>{''.join(rows)}</table>"
        case Table():
            return _table(block)
        case Intervals():
            return f"<figure>{svg(block)}<figcaption>{_escape(block.caption)}</figcaption></figure>"
        case Links():
            items = (
                f'<li><a href="{link.stem}.html">{_escape(link.text)}<span>{_escape(link.about)}</span></a></li>'
                for link in block.links
            )
            return f'<ul class="pages">{"".join(items)}</ul>'


def _table(table: Table) -> str:
    def kind(i: int, cell: Cell) -> str:
        if i in table.numeric:
            return ' class="n"'
        return (
            ' class="s"' if len(as_text(cell).text) <= _SHORT and not as_text(cell).code else ""
        )  # its words stay whole

    head = "".join(f"<th{kind(i, name)}>{_escape(name)}</th>" for i, name in enumerate(table.heads))
    rows = []
    for number, row in enumerate(table.rows):
        anchor = f' id="{table.anchors[number]}"' if table.anchors else ""
        rows.append(
            f"<tr{anchor}>{''.join(f'<td{kind(i, cell)}>{inline(cell)}</td>' for i, cell in enumerate(row))}</tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
