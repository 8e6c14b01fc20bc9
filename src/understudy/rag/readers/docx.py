"""Word documents by python-docx: headings by style, paragraphs, lists and tables in their order."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path
from typing import Any

from understudy.errors import DocumentError
from understudy.rag.document import Builder, Document, table_text

MAX_INFLATED_BYTES = 512 << 20


def read(path: Path, data: bytes) -> Document:
    import docx

    _check_size(path, data)
    try:
        file = docx.Document(io.BytesIO(data))
        builder = Builder((file.core_properties.title or "").strip())
        _walk(file, builder)
    except ImportError:
        raise
    except Exception as error:  # python-docx passes on whatever lxml and zipfile raise
        raise DocumentError(
            f"Word document cannot be read ({type(error).__name__}: {str(error)[:120]})", where=path
        ) from error
    builder.title = builder.title or path.stem
    return builder.build()


def _check_size(path: Path, data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            total = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        what = (
            "Word document is encrypted or of an old format"
            if data[:4] == b"\xd0\xcf\x11\xe0"
            else f"not a Word document ({error})"
        )
        raise DocumentError(what, where=path, do="save it as .docx without a password") from error
    if total > MAX_INFLATED_BYTES:
        raise DocumentError(
            "Word document inflates to too much",
            where=path,
            expected=f"at most {MAX_INFLATED_BYTES} bytes",
            found=total,
        )


def _walk(file: Any, builder: Builder) -> None:
    for item in file.iter_inner_content():
        if hasattr(item, "rows"):
            builder.add(
                table_text([[cell.text for cell in row.cells] for row in item.rows]), "table"
            )
            continue
        style = item.style.name if item.style is not None else ""
        match = re.fullmatch(r"(?:Heading (\d)|Title)", style or "")
        if match:
            builder.add(item.text, "heading", min(6, int(match[1] or 1)))
        else:
            builder.add(item.text, "list" if style.startswith("List") else "paragraph")
