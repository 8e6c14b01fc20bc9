"""HTML: headings, paragraphs, lists, tables and code; scripts, styles, navigation and hidden parts are left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document, table_text

_LEFT_OUT = [
    "script",
    "style",
    "nav",
    "footer",
    "template",
    "noscript",
    "head",
    "svg",
    "form",
    "iframe",
    "button",
]
_OWN_BLOCK = (
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "p",
    "pre",
    "table",
    "ul",
    "ol",
    "dl",
    "blockquote",
    "figcaption",
)
_HOLDS_BLOCKS = {
    *_OWN_BLOCK,
    "div",
    "section",
    "article",
    "main",
    "body",
    "html",
    "aside",
    "header",
    "figure",
    "details",
    "li",
    "td",
}


def read(path: Path, data: bytes) -> Document:
    from bs4 import BeautifulSoup

    if b"\0" in data[:4096] and data[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise DocumentError("file is binary, not HTML", where=path)
    try:
        soup = BeautifulSoup(data, "html.parser")
    except RecursionError as error:
        raise DocumentError("HTML is nested too deeply", where=path) from error
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for element in soup.find_all(_LEFT_OUT):
        element.decompose()
    for element in soup.find_all(attrs={"hidden": True}):
        element.decompose()
    builder = Builder(title)
    try:
        _walk(soup.body or soup, builder)
    except RecursionError as error:
        raise DocumentError("HTML is nested too deeply", where=path) from error
    builder.title = builder.title or path.stem
    return builder.build()


def _walk(element: Any, builder: Builder) -> None:
    loose: list[str] = []

    def flush() -> None:
        builder.add(" ".join(" ".join(loose).split()))
        loose.clear()

    for child in element.children:
        name = getattr(child, "name", None)
        if name is None:
            if type(child).__name__ == "NavigableString":
                loose.append(str(child))
        elif name in _OWN_BLOCK:
            flush()
            _block(child, name, builder)
        elif name in _HOLDS_BLOCKS or child.find(list(_OWN_BLOCK)) is not None:
            flush()
            _walk(child, builder)
        else:
            loose.append(child.get_text(" "))
    flush()


def _block(element: Any, name: str, builder: Builder) -> None:
    if name[0] == "h" and name[1:].isdigit():
        builder.add(_line(element), "heading", int(name[1]))
    elif name == "pre":
        builder.add(element.get_text(), "code")
    elif name == "table":
        builder.add(
            table_text(
                [
                    [_line(cell) for cell in row.find_all(["td", "th"])]
                    for row in element.find_all("tr")
                ]
            ),
            "table",
        )
    elif name in ("ul", "ol"):
        builder.add("\n".join(f"- {_line(item)}" for item in element.find_all("li")), "list")
    elif name == "dl":
        builder.add("\n".join(_line(item) for item in element.find_all(["dt", "dd"])), "list")
    elif element.find(["p", "ul", "ol", "table", "pre"]) is not None:
        _walk(element, builder)
    else:
        builder.add(_line(element))


def _line(element: Any) -> str:
    return " ".join(element.get_text(" ").split())
