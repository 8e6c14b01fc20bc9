"""OpenDocument slides (`.odp`) in their order: titles as headings, texts, tables, the speaker's
notes.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from understudy.rag.document import Builder, Document
from understudy.rag.readers.odf import OdfBlocks, holding, package_of

_NOT_SHOWN = ("header", "footer", "date-time", "page-number", "page")


def read(path: Path, data: bytes) -> Document:
    blocks = OdfBlocks(package_of(path, data, "OpenDocument presentation"))
    body = blocks.content.find("office.body/office.presentation")
    for page in () if body is None else body.findall("draw.page"):
        style = page.get("style-name")
        if blocks.styles.property(style, "drawing-page", "visibility") == "hidden":
            continue
        blocks.builder.page()
        notes = page.find("presentation.notes")
        for part in (page, notes):
            for shape in part if part is not None else ():
                _add(shape, blocks)
    return blocks.built()


def _add(shape: Element, blocks: OdfBlocks) -> None:
    """What a shape holds; a placeholder that nobody filled, and what each slide repeats, is
    nothing.
    """
    kind = shape.get("class", "")
    if shape.tag == "presentation.notes" or kind in _NOT_SHOWN:
        return
    if shape.get("placeholder") == "true":
        return
    inner = Builder()
    blocks.blocks(holding(shape), inner, 1)
    for text, block in inner.contents():
        is_title = kind == "title"
        blocks.builder.add(text, "heading" if is_title else block.kind, int(is_title))
