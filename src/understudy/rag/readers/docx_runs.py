"""The text of one Word paragraph: its runs as they are shown, and what hangs on it (notes, boxes,
diagrams).

ECMA-376 part 1: runs 17.3, fields 17.16, revisions 17.13.5, text boxes 20.4 and part 4, 19.1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from understudy.rag.readers import names
from understudy.rag.readers.docx_styles import Styles, is_on
from understudy.rag.readers.formula import formula_text
from understudy.rag.readers.package import walk
from understudy.rag.readers.symbols import symbol

# What is not shown in print, with all that is in it.
HIDDEN = names(
    """w.del w.moveFrom w.pPr w.rPr w.tblPr w.trPr w.tcPr w.sdtPr w.sdtEndPr w.smartTagPr
    w.customXmlPr w.tblGrid w.tblPrEx w.delText w.instrText w.delInstrText w.sectPr"""
)
_WRAPPERS = names(
    """w.sdt w.sdtContent
    w.customXml w.smartTag w.ins w.moveTo w.hyperlink w.fldSimple w.dir w.bdo"""
)
_SIGNS = {
    "w.tab": " ",
    "w.ptab": " ",
    "w.br": "\n",
    "w.cr": "\n",
    "w.noBreakHyphen": "-",
}


def visible_part(element: Element) -> Element | None:
    """What stands in the place of an element that is only a frame: itself, or the one alternative
    that is shown.
    """
    if element.tag in _WRAPPERS:
        return element
    if element.tag == "mc.AlternateContent":
        choice = element.find("mc.Choice")
        return choice if choice is not None else element.find("mc.Fallback")
    return None


@dataclass(slots=True)
class Paragraph:
    """Pieces of text, None for the mark of each note; `boxes` hold blocks of their own."""

    pieces: list[str | None] = field(default_factory=list)
    notes: list[tuple[str, str, bool]] = field(default_factory=list)  # (kind, id, has its own mark)
    boxes: list[Element] = field(default_factory=list)
    diagrams: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        return "".join(piece or "" for piece in self.pieces)

    def text_with(self, marks: Sequence[str]) -> str:
        given = iter(marks)
        return "".join(next(given, "") if piece is None else piece for piece in self.pieces)


class Runs:
    """Reads paragraphs one after the other; a field may begin in one and end in a later one."""

    def __init__(self, styles: Styles) -> None:
        self.styles = styles
        self.fields: list[
            bool
        ] = []  # of each open field: are we in its instruction, which is not shown?

    def read(self, paragraph: Element) -> Paragraph:
        found = Paragraph()
        for element in walk(paragraph, visible_part, hidden=HIDDEN):
            self._inline(element, found)
        return found

    def _inline(self, element: Element, found: Paragraph) -> None:
        if element.tag == "w.r":
            properties = element.find("w.rPr")
            if properties is None or not self.styles.is_hidden(properties):
                for part in walk(element, visible_part, hidden=HIDDEN):
                    self._run_part(part, found)
        elif element.tag in ("m.oMath", "m.oMathPara"):
            found.pieces.append(formula_text(element))

    def _run_part(self, element: Element, found: Paragraph) -> None:
        tag = element.tag
        if tag == "w.fldChar":
            self._field(element, found)
        elif any(self.fields):
            return
        elif tag == "w.t":
            found.pieces.append(element.text or "")
        elif tag in _SIGNS:
            found.pieces.append(_SIGNS[tag])
        elif tag == "w.sym":
            found.pieces.append(symbol(element.get("font", ""), element.get("char", "")))
        elif tag in ("w.footnoteReference", "w.endnoteReference"):
            found.pieces.append(None)
            kind = tag.removeprefix("w.").removesuffix("Reference")
            found.notes.append(
                (kind, element.get("id", ""), bool(is_on_value(element.get("customMarkFollows"))))
            )
        elif tag in ("w.drawing", "w.pict", "w.object"):
            self._drawing(element, found)
        elif tag == "w.ruby":
            self._ruby(element, found)

    def _field(self, element: Element, found: Paragraph) -> None:
        kind = element.get("fldCharType")
        if kind == "begin":
            if not any(self.fields):
                found.pieces.append(_form_value(element.find("w.ffData")))
            self.fields.append(True)
        elif kind == "separate" and self.fields:
            self.fields[-1] = False
        elif kind == "end" and self.fields:
            self.fields.pop()

    def _ruby(self, element: Element, found: Paragraph) -> None:
        base, above = (
            "".join(t.text or "" for part in element.findall(name) for t in part.iter("w.t"))
            for name in ("w.rubyBase", "w.rt")
        )
        found.pieces.append(f"{base}({above})" if above else base)

    def _drawing(self, element: Element, found: Paragraph) -> None:
        for part in _shapes(element):
            if part.tag == "w.txbxContent":
                found.boxes.append(part)
            elif part.tag == "relIds":
                found.diagrams.append(part.get("r.dm", ""))
            elif part.tag == "textpath":
                found.pieces.append(part.get("string", ""))
            elif part.tag == "chart":
                found.left_out["chart"] += 1
            else:
                found.left_out["embedded object"] += 1


def is_on_value(value: str | None) -> bool:
    return value is not None and value not in ("0", "false", "off")


_SHAPES = frozenset(["w.txbxContent", "relIds", "textpath", "chart", "OLEObject"])


def _shapes(element: Element) -> Iterator[Element]:
    """The parts of a drawing that hold text, or stand for something that does, in order."""

    def inside(part: Element) -> Element | None:
        return None if part.tag in _SHAPES else visible_part(part) or part

    return walk(element, inside, hidden=HIDDEN)


def _form_value(data: Element | None) -> str:
    """What an old form field shows that has no result of its own: a box ticked or not, the entry
    chosen.
    """
    if data is None:
        return ""
    box = data.find("w.checkBox")
    if box is not None:
        ticked = is_on(box, "w.checked")
        return "☒" if (is_on(box, "w.default") if ticked is None else ticked) else "☐"
    entries = data.find("w.ddList")
    if entries is None:
        return ""
    chosen = entries.find("w.result")
    number = chosen.get("val", "0") if chosen is not None else "0"
    texts = [entry.get("val", "") for entry in entries.findall("w.listEntry")]
    return texts[int(number)] if number.isdecimal() and int(number) < len(texts) else ""
