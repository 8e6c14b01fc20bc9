"""EPUB books: the pages of the spine in their order, each read as HTML."""

from __future__ import annotations

import posixpath
from pathlib import Path
from urllib.parse import unquote

from understudy.rag.document import Builder, Document
from understudy.rag.readers.html import add_page
from understudy.rag.readers.html_source import html_text, without_self_closed
from understudy.rag.readers.package import Package


def read(path: Path, data: bytes) -> Document:
    package = Package(path, data, "EPUB book")
    container = package.xml("META-INF/container.xml")
    place = next((root.get("full-path", "") for root in container.iter("rootfile")), "")
    book = package.xml(place)
    title = next((element.text or "" for element in book.iter("title")), "")
    builder = Builder(" ".join(title.split()))
    pages = {item.get("id"): item.get("href", "") for item in book.iter("item")}
    for entry in book.iter("itemref"):
        page = unquote(pages.get(entry.get("idref"), ""))
        name = posixpath.normpath(posixpath.join(posixpath.dirname(place), page))
        if name in package.names:
            add_page(without_self_closed(html_text(package.read(name))), builder)
        else:
            builder.warnings.append(f"the book lacks a page: {page}")
    builder.title = builder.title or path.stem
    return builder.build()
