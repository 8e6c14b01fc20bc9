"""A document as Markdown (CommonMark with tables). Whatever a text holds, it stays text: no markup, link, HTML or cell."""

from __future__ import annotations

import re

from understudy.judge.cards.document import (
    SHOWN,
    Block,
    Cell,
    Document,
    Fields,
    Heading,
    Intervals,
    Link,
    Links,
    Paragraph,
    Table,
    as_text,
)
from understudy.judge.safety.report import visible

_SPECIAL = re.compile(r"[\\`*_\[\]~#@!]")
_LEADING = re.compile(
    r"^\s*(?:(\d+)([.)])|([-+=]))"
)  # what would begin a list or underline a heading
_MARKS = {"missing": "⚠ ", "unstated": "○ "}


def to_markdown(document: Document) -> str:
    parts = [
        f"# {escape(document.title)}",
        _paragraph(escape(document.subtitle)),
        *map(_block, document.blocks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def escape(text: str) -> str:
    """A text as Markdown that shows it as it is; cut to `SHOWN` characters, with their count."""
    shown = _SPECIAL.sub(r"\\\g<0>", visible(text, SHOWN))
    shown = (
        shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("|", "&#124;")
    )
    return shown.replace("://", ":&#47;/").replace(
        "www.", "www&#46;"
    )  # bare addresses are made links otherwise


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
        case Paragraph():
            return _paragraph(" ".join(inline(part) for part in block.parts))
        case Fields():
            return _fields(block)
        case Table():
            return _rows(block)
        case Intervals():
            return f"![{escape(block.caption)}](figures/{block.name}.svg)"
        case Links():
            return "\n".join(map(_link, block.links))


def _link(link: Link) -> str:
    about = f": {escape(link.about)}" if link.about else ""
    return f"- [{escape(link.text)}]({link.stem}.md){about}"


def _fields(block: Fields) -> str:
    lines = ["| field | answer |", "|---|---|"]
    lines += [
        f"| {escape(name)} | {'<br>'.join(inline(part) for part in parts)} |"
        for name, parts in block.rows
    ]
    return "\n".join(lines)


def _rows(table: Table) -> str:
    head = "| " + " | ".join(escape(name) for name in table.heads) + " |"
    rule = (
        "|"
        + "|".join("--:" if i in table.numeric else "---" for i in range(len(table.heads)))
        + "|"
    )
    lines = [head, rule]
    for i, row in enumerate(table.rows):
        anchor = f'<a id="{table.anchors[i]}"></a>' if table.anchors else ""
        lines.append("| " + anchor + " | ".join(inline(cell) for cell in row) + " |")
    return "\n".join(lines)
