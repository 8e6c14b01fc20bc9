"""Plain text: paragraphs between blank lines. The document's text is the file's own, so that
offsets are those of the file.
"""

from __future__ import annotations

import re
from pathlib import Path

from understudy.rag.document import Document, DocumentBlock
from understudy.rag.readers import decode

_PARAGRAPH = re.compile(r"\S[^\n]*(?:\n[^\S\n]*\S[^\n]*)*")


def read(path: Path, data: bytes) -> Document:
    text = decode(path, data)
    return Document(
        text,
        tuple(DocumentBlock(match.start(), match.end()) for match in _PARAGRAPH.finditer(text)),
        path.stem,
    )
