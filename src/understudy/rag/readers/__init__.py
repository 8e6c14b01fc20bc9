"""From a file to a `Document`, by the ending of its name.

To add a kind: `readers/<name>.py` with `read(path, data) -> Document`, and its endings in
`READERS`. Libraries are imported by the reader that needs them. Every failure is a `DocumentError`
that names the file.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

from understudy.errors import DocumentError, MissingError
from understudy.rag.document import Document

READERS: dict[str, str] = {
    ".txt": "plain",
    ".text": "plain",
    ".rst": "plain",
    ".log": "plain",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".docx": "docx",
    ".csv": "table",
    ".tsv": "table",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".xlsx": "xlsx",
    ".pptx": "pptx",
    ".epub": "epub",
    ".odt": "odf",
    ".ott": "odf",
    ".ods": "ods",
    ".ots": "ods",
    ".odp": "odp",
    ".otp": "odp",
    ".docm": "docx",
    ".dotx": "docx",
    ".xlsm": "xlsx",
    ".xltx": "xlsx",
    ".pptm": "pptx",
    ".ppsx": "pptx",
    ".potx": "pptx",
    ".py": "plain",
}
# Formats without a reader, and the one to save them in.
SAVE_AS: dict[str, str] = {
    **dict.fromkeys((".doc", ".dot", ".rtf", ".wps", ".wpd", ".pages", ".fodt", ".sxw"), ".docx"),
    **dict.fromkeys((".xls", ".xlt", ".xlsb", ".numbers", ".fods", ".sxc"), ".xlsx"),
    **dict.fromkeys((".ppt", ".pps", ".key", ".fodp", ".sxi"), ".pptx"),
    **dict.fromkeys((".mobi", ".azw", ".azw3", ".fb2"), ".epub"),
    **dict.fromkeys((".djvu", ".xps", ".ps", ".tex"), ".pdf"),
    **dict.fromkeys((".mht", ".mhtml", ".eml", ".msg"), ".html"),
}
MAX_FILE_BYTES = 256 << 20


def names(text: str) -> frozenset[str]:
    """A set of names that stand between blanks."""
    return frozenset(text.split())


def can_read(path: Path) -> bool:
    return path.suffix.lower() in READERS


def reader_of(path: Path) -> str:
    """The name of the reader for a file.

    Raises:
        DocumentError: there is none; with the format to save it in, where that is known.
    """
    ending = path.suffix.lower()
    if ending in READERS:
        return READERS[ending]
    raise DocumentError(
        "no reader for this kind of file",
        where=path if path.name else "file",
        expected=" ".join(READERS),
        found=path.suffix or "no ending",
        do=f"save it as {SAVE_AS[ending]}" if ending in SAVE_AS else None,
    )


def read_document(path: str | Path) -> Document:
    """Reads one file.

    Raises:
        DocumentError: an unknown ending, damaged, binary, encrypted, scanned, empty or too large.
        MissingError: the library for this kind of file is not installed.
    """
    path = Path(path)
    name = reader_of(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise DocumentError(
                "document is too large",
                where=path,
                expected=f"at most {MAX_FILE_BYTES} bytes",
                found=size,
            )
        data = path.read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot read: {error.strerror}", where=path) from error
    try:
        reader = importlib.import_module(f"understudy.rag.readers.{name}")
        document: Document = reader.read(path, data)
    except ImportError as error:
        raise MissingError(
            f"the reader needs {error.name}", where=path, do="install understudy[rag]"
        ) from error
    except DocumentError:
        raise
    except Exception as error:  # a fault of a reader is one file's, never the whole folder's
        reason = f"{type(error).__name__}: {str(error)[:120]}"
        raise DocumentError(f"document cannot be read ({reason})", where=path) from error
    if not document.text.strip():
        raise DocumentError("document holds no text", where=path)
    title = document.title.encode("utf-8", "backslashreplace").decode("utf-8")  # of any file name
    return replace(document, title=title)


def decode(path: Path, data: bytes) -> str:
    """The text of a text file: UTF-8, or UTF-16 with its mark; newlines become `\\n`.

    Raises:
        DocumentError: binary data, or another encoding.
    """
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in data[:65536]:
        raise DocumentError(
            "file is binary, not text", where=path, found=f"a zero byte at {data.index(0)}"
        )
    else:
        encoding = "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DocumentError(
            f"file is not {encoding.removesuffix('-sig').upper()}",
            where=path,
            found=f"byte {error.start}",
            do="convert it to UTF-8",
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "\ufffd")
