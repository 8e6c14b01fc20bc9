"""A document as Markdown (CommonMark with tables). Whatever a text holds, it stays text: no markup,
link, HTML or cell."""

from __future__ import annotations

import re

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
    KeyFigures,
    Lines,
    Link,
    Links,
    Listing,
    Prose,
    Quote,
    ReportDocument,
    Table,
    as_text,
)
from understudy.report.text import visible

_SPECIAL = re.compile(r"[\\`*_\[\]~#@!]")
_LEADING = re.compile(
    r"^\s*(?:(\d+)([.)])|([-+=]))"
)  # what would begin a list or underline a heading
_MARKS = {"missing": "⚠ ", "unstated": "○ "}


def to_markdown(document: ReportDocument) -> str:
    """The text of `STEM.md`; charts are linked as `figures/NAME.svg`."""
    title, subtitle = f"# {escape(document.title)}", _paragraph(escape(document.subtitle))
    parts = [title, subtitle, *map(_block, document.blocks)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """A text as Markdown that shows it as it is; cut to `SHOWN` characters, with their count."""
    return _escaped(visible(text, SHOWN))


def _escaped(shown: str) -> str:
    shown = _SPECIAL.sub(r"\\\g<0>", shown)
    shown = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    shown = shown.replace("|", "&#124;")
    return shown.replace("://", ":&#47;/").replace("www.", "www&#46;")  # or they become links


def _paragraph(text: str) -> str:
    return _LEADING.sub(r"\1\\\2\3", text)


def code(text: str) -> str:
    """A code span, or plain text where a span could break a table."""
    shown = visible(text, SHOWN)
    if not shown.strip() or "|" in shown or "\\" in shown:
        return escape(text)
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    space = " " if shown[0] in "` " or shown[-1] in "` " else ""
    return f"{fence}{space}{shown}{space}{fence}"


def inline(cell: Cell) -> str:
    text = as_text(cell)
    shown = _MARKS.get(text.kind, "") + escape(text.text)
    if text.kind in ("missing", "unstated", "strong") and text.text:
        shown = f"**{shown}**"
    if text.code:
        shown += (": run " if text.kind == "missing" else " " if text.text else "") + code(
            text.code
        )
    return shown + "".join(f" [[{run}]](#run-{run})" for run in text.runs)


def _block(block: Block) -> str:
    match block:
        case Heading():
            anchor = f'<a id="{block.anchor}"></a>\n\n' if block.anchor else ""
            return f"{anchor}{'#' * block.level} {escape(block.text)}"
        case Prose():
            return _paragraph(" ".join(inline(part) for part in block.parts))
        case Quote():
            return _quote(block)
        case Listing():
            return _listing(block)
        case Fields():
            return _fields(block)
        case KeyFigures():
            return _key_figures(block)
        case Table():
            return _rows(block)
        case Beside():
            return "\n\n".join(map(_quote, block.quotes))
        case Intervals() | Lines() | Bars() | HeatMap():
            return f"![{escape(block.caption)}](figures/{block.name}.svg)"
        case Links():
            return "\n".join(map(_link, block.links))
        case Folded():
            inside = "\n\n".join(map(_block, block.blocks))
            summary = f"<summary>{escape(block.summary)}</summary>"
            return f"<details>\n{summary}\n\n{inside}\n\n</details>"


def _link(link: Link) -> str:
    about = f": {escape(link.about)}" if link.about else ""
    return f"- [{escape(link.text)}]({link.stem}.md){about}"


def _quote(quote: Quote) -> str:
    lines = visible(quote.text, quote.limit, keeps_lines=True).split("\n")
    label = [f"> {escape(quote.label)}", ">"] if quote.label else []
    return "\n".join([*label, *(f"> {_paragraph(_escaped(line))}\\" for line in lines)])[:-1]


def _listing(listing: Listing) -> str:
    shown = visible(listing.text, listing.limit, keeps_lines=True)
    runs = (len(run) for run in re.findall("`+", shown))
    fence = "`" * max(3, 1 + max(runs, default=0))
    return f"{fence}{listing.language}\n{shown}\n{fence}"


def _fields(block: Fields) -> str:
    lines = ["| field | answer |", "|---|---|"]
    for name, parts in block.rows:
        lines.append(f"| {escape(name)} | {'<br>'.join(inline(part) for part in parts)} |")
    return "\n".join(lines)


def _key_figures(block: KeyFigures) -> str:
    lines = ["| figure | value | compared with |", "|---|--:|---|"]
    lines += [
        f"| {escape(one.label)} | **{escape(one.value)}** | {escape(one.note)} |"
        for one in block.figures
    ]
    return "\n".join(lines)


def _rows(table: Table) -> str:
    head = "| " + " | ".join(escape(name) for name in table.heads) + " |"
    kinds = ("--:" if i in table.numeric else "---" for i in range(len(table.heads)))
    lines = [head, f"|{'|'.join(kinds)}|"]
    for i, row in enumerate(table.rows):
        anchor = f'<a id="{table.anchors[i]}"></a>' if table.anchors else ""
        lines.append("| " + anchor + " | ".join(inline(cell) for cell in row) + " |")
    return "\n".join(lines)
