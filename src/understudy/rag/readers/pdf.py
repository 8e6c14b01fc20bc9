"""PDF by pypdf, page by page; lines joined into paragraphs where a line does not end a sentence."""

from __future__ import annotations

import io
import logging
import re
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document

MAX_PAGES = 20_000
_HYPHEN = re.compile(r"(\w)-\n(?=[a-z])")
_BROKEN_LINE = re.compile(r"(?<![.!?:;\n])\n(?=[a-z(,])")


def read(path: Path, data: bytes) -> Document:
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DocumentError("PDF is encrypted", where=path, do="save it without a password")
        num_pages = len(reader.pages)
        if num_pages > MAX_PAGES:
            raise DocumentError(
                "PDF has too many pages",
                where=path,
                expected=f"at most {MAX_PAGES}",
                found=num_pages,
            )
        builder = Builder(_title(reader, path))
        num_silent = _read_pages(reader, builder)
    except DocumentError:
        raise
    except ImportError:
        raise
    except (
        PyPdfError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        RecursionError,
        OSError,
        AssertionError,
        NotImplementedError,
        OverflowError,
        MemoryError,
        ZeroDivisionError,
    ) as error:
        raise DocumentError(
            f"PDF cannot be read ({type(error).__name__}: {str(error)[:120]})", where=path
        ) from error
    if num_silent == num_pages:
        raise DocumentError(
            "PDF has no text: its pages are pictures",
            where=path,
            found=f"{num_pages} pages",
            do="run it through a text recognition program first",
        )
    if num_silent:
        builder.warnings.append(f"{num_silent} of {num_pages} pages have no text")
    return builder.build()


def _read_pages(reader: Any, builder: Builder) -> int:
    """Adds every page; gives how many had no text."""
    num_silent = 0
    for page in reader.pages:
        text = (page.extract_text() or "").replace("\0", "")
        text = text.encode("utf-8", "replace").decode("utf-8")
        num_silent += not text.strip()
        builder.page()
        text = _BROKEN_LINE.sub(" ", _HYPHEN.sub(r"\1", text.replace("\r", "")))
        for paragraph in re.split(r"\n\s*\n", text):
            builder.add(paragraph)
    return num_silent


def _title(reader: Any, path: Path) -> str:
    try:
        title = reader.metadata.title if reader.metadata else None
    except Exception:  # a damaged information dictionary says nothing about the pages
        title = None
    return str(title).strip() if title and str(title).strip() else path.stem
