"""The text of one paragraph of OpenDocument as it is shown, and what hangs on it: notes, frames,
comments.

OpenDocument 1.3 part 3: white space 6.1.2, inline content 6, notes 6.3, hidden text 7.7, ruby 6.4.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from understudy.rag.readers import names
from understudy.rag.readers.odf_styles import OdfStyles

MAX_BLANKS = 1000  # of one `text.s`
MAX_DEPTH = 100  # of spans in spans
_SILENT = names(
    """office.forms office.script office.event-listeners text.script text.tracked-changes
    text.note-body text.note-citation text.dde-connection-decls text.variable-decls
    text.sequence-decls text.user-field-decls text.alphabetical-index-auto-mark-file
    text.placeholder svg.title svg.desc"""
)
FRAMES = names(
    """draw.frame draw.g draw.custom-shape draw.rect draw.ellipse draw.circle draw.line
    draw.connector draw.polygon draw.polyline draw.path draw.caption draw.control draw.measure
    draw.regular-polygon"""
)
_BLANKS = re.compile(r"[ \t\r\n]+")


@dataclass(slots=True)
class OdfParagraph:
    """Pieces of text, None for the mark of each note; `frames` hold blocks of their own."""

    pieces: list[str | None] = field(default_factory=list)
    notes: list[Element] = field(default_factory=list)
    frames: list[Element] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    ends_blank: bool = True  # the blanks that come next are none

    def write(self, text: str | None) -> None:
        """Text of the file: a run of its blanks and newlines is one blank."""
        words = _BLANKS.sub(" ", text or "")
        if self.ends_blank:
            words = words.removeprefix(" ")
        if words:
            self.pieces.append(words)
            self.ends_blank = words.endswith(" ")

    def sign(self, text: str) -> None:
        """Text that stays as it is."""
        self.pieces.append(text)
        self.ends_blank = False

    def text_with(self, marks: Sequence[str]) -> str:
        given = iter(marks)
        return "".join(next(given, "") if piece is None else piece for piece in self.pieces)


class OdfRuns:
    """Reads paragraphs with the styles of their document; `formula` gives the text of a frame that
    holds one.
    """

    def __init__(self, styles: OdfStyles, formula: Callable[[Element], str | None]) -> None:
        self._styles, self._formula = styles, formula

    def read(self, paragraph: Element) -> OdfParagraph:
        found = OdfParagraph()
        if not self._is_hidden(paragraph):
            self._inside(paragraph, found, 0)
        return found

    def _inside(self, element: Element, found: OdfParagraph, depth: int) -> None:
        if depth > MAX_DEPTH:
            found.write("".join(element.itertext()))
            return
        found.write(element.text)
        for child in element:
            if isinstance(child.tag, str):  # comments and instructions have a function for a tag
                self._inline(child, found, depth + 1)
            found.write(child.tail)

    def _inline(self, element: Element, found: OdfParagraph, depth: int) -> None:
        tag = element.tag
        if tag in _SILENT or self._is_hidden(element):
            return
        if tag == "text.s":
            count = element.get("c", "1")
            found.sign(" " * min(int(count) if count.isdecimal() else 1, MAX_BLANKS))
        elif tag in ("text.tab", "text.line-break"):
            found.sign(" " if tag == "text.tab" else "\n")
            found.ends_blank = True
        elif tag == "text.note":
            found.pieces.append(None)
            found.notes.append(element)
            found.ends_blank = False
        elif tag == "text.ruby":
            self._ruby(element, found, depth)
        elif tag == "office.annotation":
            found.left_out["comment"] += 1
        elif tag == "draw.frame" and (formula := self._formula(element)) is not None:
            found.sign(formula)
        elif tag in FRAMES:
            found.frames.append(element)
        elif tag == "draw.a":
            found.frames += [inner for inner in element if inner.tag in FRAMES]
        else:
            self._inside(element, found, depth)

    def _ruby(self, element: Element, found: OdfParagraph, depth: int) -> None:
        """The base, its reading in brackets."""
        base, reading = element.find("text.ruby-base"), element.findtext("text.ruby-text")
        if base is not None:
            self._inside(base, found, depth)
        if reading and reading.strip():
            found.sign(f"({reading.strip()})")

    def _is_hidden(self, element: Element) -> bool:
        if element.get("display") == "none":
            return True
        if element.tag in ("text.hidden-paragraph", "text.hidden-text"):
            return element.get("is-hidden") == "true"
        if any(
            mark.get("is-hidden") == "true" for mark in element.findall("text.hidden-paragraph")
        ):
            return True
        name = element.get("style-name")
        return name is not None and self._styles.is_hidden(name)
