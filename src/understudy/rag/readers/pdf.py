"""PDF by PDFium, page by page: words by where their characters stand, paragraphs, and what forms
are filled in with.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document
from understudy.rag.readers.pdf_lines import Glyph, PageLine, lines_of, paragraphs_of
from understudy.rag.readers.pdf_margins import without_line_numbers
from understudy.rag.readers.pdf_source import with_last_movements

MAX_PAGES = 20_000
MAX_VALUE = 4096  # characters of a form field
_PDFIUM = threading.Lock()  # the library is not safe to use from two threads
_NO_TITLES = frozenset(["", "untitled", "(anonymous)", "anonymous", "unspecified", "(unspecified)"])
_BLANKS = frozenset([9, 32, 160])
_NOTHING = frozenset([0, 0xFFFE, 0xFFFF])
_REPLACEMENT = "\ufffd"


def read(path: Path, data: bytes) -> Document:
    import pypdfium2

    with _PDFIUM:
        try:
            file = pypdfium2.PdfDocument(with_last_movements(data))
            try:
                return _read(path, file)
            finally:
                file.close()
        except pypdfium2.PdfiumError as error:
            if "password" in str(error).lower():
                raise DocumentError(
                    "PDF is encrypted", where=path, do="save it without a password"
                ) from error
            raise DocumentError(f"PDF cannot be read ({str(error)[:120]})", where=path) from error


def _read(path: Path, file: Any) -> Document:
    num_pages = len(file)
    if num_pages > MAX_PAGES:
        raise DocumentError(
            "PDF has too many pages", where=path, expected=f"at most {MAX_PAGES}", found=num_pages
        )
    title = str(file.get_metadata_value("Title")).strip().removeprefix("Microsoft Word - ")
    builder = Builder("" if title.lower() in _NO_TITLES else title)
    file.init_forms()
    num_silent = sum(not _add_page(file, i, builder) for i in range(num_pages))
    if num_silent == num_pages:
        raise DocumentError(
            "PDF has no text: its pages are pictures",
            where=path,
            found=f"{num_pages} pages",
            do="run it through a text recognition program first",
        )
    if num_silent:
        builder.warnings.append(f"{num_silent} of {num_pages} pages have no text")
    builder.title = builder.title or path.stem
    return builder.build()


def _add_page(file: Any, number: int, builder: Builder) -> bool:
    """Adds a page; False where it has no text."""
    import pypdfium2

    builder.page()
    try:
        page = file[number]
    except pypdfium2.PdfiumError:
        builder.warnings.append(f"page {number + 1} is damaged")
        return False
    text = page.get_textpage()
    try:
        lines, numbers = without_line_numbers(lines_of(_glyphs(text.raw)))
        alone = [line for line in _form_values(page, file.formenv) if not _joins(line, lines)]
        before = len(builder.blocks)
        rest = [*(line.text for line in alone), " ".join(numbers)]
        for paragraph in (*paragraphs_of(lines), *rest):
            builder.add(paragraph)
        return len(builder.blocks) > before
    finally:
        text.close()
        page.close()


def _glyphs(text: Any) -> Iterator[Glyph]:
    """The visible characters of a page, in the order of the file."""
    import pypdfium2.raw as pdfium

    box, origin_x, origin_y = pdfium.FS_RECTF(), ctypes.c_double(), ctypes.c_double()
    at = ctypes.byref(box), ctypes.byref(origin_x), ctypes.byref(origin_y)
    starts_line, blank, width = False, None, 0.0
    level, turns = math.nan, 0  # PDFium counts angles clockwise
    for i in range(pdfium.FPDFText_CountChars(text)):
        code = pdfium.FPDFText_GetUnicode(text, i)
        if code in (10, 13):
            starts_line = True
            continue
        if code in _NOTHING or (code in _BLANKS and pdfium.FPDFText_IsGenerated(text, i)):
            continue
        pdfium.FPDFText_GetLooseCharBox(text, i, at[0])
        if code in _BLANKS:
            blank, width = box.left, box.right - box.left
            continue
        pdfium.FPDFText_GetCharOrigin(text, i, at[1], at[2])
        character = _REPLACEMENT if 0xD800 <= code < 0xE000 or code > 0x10FFFF else chr(code)
        if origin_y.value != level:  # along a line it stays as it is
            level = origin_y.value
            turns = round(-2 * pdfium.FPDFText_GetCharAngle(text, i) / math.pi) % 4
        sides = _turned(turns, box, origin_x.value, origin_y.value)
        yield Glyph(character, *sides, turns, starts_line, None if turns else blank, width)
        starts_line, blank = False, None


def _turned(turns: int, box: Any, x: float, y: float) -> tuple[float, float, float, float]:
    """(left, right, baseline, height) of a character as whoever reads along its line sees them. It
    begins at its origin: the box of a slanted one reaches back over the one before.

    Args:
        turns: quarters of a turn by which the line is turned, counterclockwise.
    """
    width, height = max(box.right - box.left, 0.1), max(box.top - box.bottom, 0.1)
    if turns == 1:
        left, right, start, baseline, height = box.bottom, box.top, y, -x, width
    elif turns == 2:
        left, right, start, baseline = -box.right, -box.left, -x, -y
    elif turns == 3:
        left, right, start, baseline, height = -box.top, -box.bottom, -y, x, width
    else:
        left, right, start, baseline = box.left, box.right, x, y
    return start if left < start < right else left, right, baseline, height


def _form_values(page: Any, form: Any) -> Iterator[PageLine]:
    """What stands in the fields of a form and in free text, with its place."""
    import pypdfium2.raw as pdfium

    for i in range(pdfium.FPDFPage_GetAnnotCount(page)):
        annotation = pdfium.FPDFPage_GetAnnot(page, i)
        if not annotation:
            continue
        try:
            kind = pdfium.FPDFAnnot_GetSubtype(annotation)
            value = ""
            if kind == pdfium.FPDF_ANNOT_WIDGET and form is not None:
                value = _field_value(form, annotation)
            elif kind == pdfium.FPDF_ANNOT_FREETEXT:
                value = _string(pdfium.FPDFAnnot_GetStringValue, annotation, b"Contents")
            box = pdfium.FS_RECTF()
            if value.strip() and pdfium.FPDFAnnot_GetRect(annotation, ctypes.byref(box)):
                height = max(box.top - box.bottom, 0.1)
                yield PageLine(
                    value.strip(), box.left, box.right, box.bottom + 0.25 * height, height
                )
        finally:
            pdfium.FPDFPage_CloseAnnot(annotation)


def _field_value(form: Any, annotation: Any) -> str:
    import pypdfium2.raw as pdfium

    kind = pdfium.FPDFAnnot_GetFormFieldType(form, annotation)
    if kind in (pdfium.FPDF_FORMFIELD_CHECKBOX, pdfium.FPDF_FORMFIELD_RADIOBUTTON):
        return "☒" if pdfium.FPDFAnnot_IsChecked(form, annotation) else "☐"
    if kind in (
        pdfium.FPDF_FORMFIELD_TEXTFIELD,
        pdfium.FPDF_FORMFIELD_COMBOBOX,
        pdfium.FPDF_FORMFIELD_LISTBOX,
    ):
        return _string(pdfium.FPDFAnnot_GetFormFieldValue, form, annotation)
    return ""


def _string(get: Any, *arguments: Any) -> str:
    """A string of PDFium: asked for its length first, then for its UTF-16."""
    import pypdfium2.raw as pdfium

    size = min(get(*arguments, None, 0), 2 * MAX_VALUE)
    if size <= 2:
        return ""
    buffer = (ctypes.c_ushort * (size // 2))()
    get(*arguments, ctypes.cast(buffer, ctypes.POINTER(pdfium.FPDF_WCHAR)), size)
    return bytes(buffer).decode("utf-16-le", "replace").split("\0", 1)[0]


def _joins(value: PageLine, lines: list[PageLine]) -> bool:
    """Puts a value behind the line that stands at its left, if there is one."""
    middle = value.y + 0.25 * value.height
    beside = [
        line
        for line in lines
        if line.right <= value.left + line.height
        and line.y - 0.3 * line.height <= middle <= line.y + line.height
    ]
    if not beside:
        return False
    nearest = max(beside, key=lambda line: line.right)
    nearest.text += f" {value.text}"
    nearest.right = value.right
    return True
