"""PowerPoint slides in their order: titles as headings, texts, tables, the speaker's notes."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

from understudy.rag.document import Builder, Document, table_text
from understudy.rag.readers.package import Package, walk

_TITLES = ("title", "ctrTitle")
_NOT_SHOWN = ("dt", "ftr", "sldNum", "sldImg")  # dates, footers and numbers that each slide repeats


def read(path: Path, data: bytes) -> Document:
    package = Package(path, data, "PowerPoint file")
    main = next(n for k, n in _main(package) if k == "officeDocument")
    relations = package.relations(main)
    builder = Builder(package.title())
    for entry in package.xml(main).iter("p.sldId"):
        _, name = relations.get(entry.get("r.id", ""), ("", ""))
        slide = package.optional_xml(name)
        if slide is None or slide.get("show") in ("0", "false"):
            continue
        builder.page()
        _add(slide, builder)
        for kind, notes in package.relations(name).values():
            root = package.optional_xml(notes) if kind == "notesSlide" else None
            if root is not None:
                _add(root, builder)
    builder.title = builder.title or path.stem
    return builder.build()


def _main(package: Package) -> list[tuple[str, str]]:
    return [*package.relations("").values(), ("officeDocument", "ppt/presentation.xml")]


def _add(slide: Element, builder: Builder) -> None:
    """The shapes of a slide in the order in which they are drawn; groups are opened."""

    def inside(element: Element) -> Element | None:
        return None if element.tag in ("p.sp", "a.tbl") else element

    for element in walk(slide, inside):
        if element.tag == "a.tbl":
            rows = [[_text(cell) for cell in row.iter("a.tc")] for row in element.iter("a.tr")]
            builder.add(table_text(rows), "table")
            continue
        holder = element.find("p.nvSpPr/p.nvPr/p.ph")
        kind = "" if holder is None else holder.get("type", "")
        if kind in _NOT_SHOWN:
            continue
        for paragraph in element.iter("a.p"):
            is_title = kind in _TITLES
            builder.add(_text(paragraph), "heading" if is_title else "paragraph", int(is_title))


def _text(element: Element) -> str:
    pieces = {"a.br": "\n", "a.tab": " "}
    return "".join(
        part.text or "" if part.tag == "a.t" else pieces.get(str(part.tag), "")
        for part in element.iter()
    )
