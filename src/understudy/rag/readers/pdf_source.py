"""The bytes of a PDF, fit for PDFium: it forgets a movement that ends a line of text behind an
empty string.

`[(GNU) -251.6 ()] TJ` moves the next text by 2.5 units at 10 points (ISO 32000-1, 9.4.3). PDFium
7,000 and later drops it, so that the words touch; groff (gropdf) writes its PDFs like that. Without
the empty string the movement stands.
"""

from __future__ import annotations

import re
import zlib

_WRITER = re.compile(rb"/Producer\s*\(gropdf")
_STREAM = re.compile(rb"/FlateDecode[^>]{0,200}>>\s*stream\r?\n")
_EMPTY_END = re.compile(rb"(?<=[\d.]) \(\)(?=\s*\] TJ)")
MAX_STREAM = 1 << 22


def with_last_movements(data: bytes) -> bytes:
    """The file with the empty strings out of its pages, each stream in its old place."""
    if _WRITER.search(data) is None:
        return data
    mended = bytearray(data)
    for match in _STREAM.finditer(data):
        start, end = match.end(), data.find(b"endstream", match.end())
        reader = zlib.decompressobj()
        try:
            page = reader.decompress(data[start:end], MAX_STREAM)
        except zlib.error:
            continue
        if not reader.eof or not _EMPTY_END.search(page):
            continue
        size = end - start - len(reader.unused_data)
        packed = zlib.compress(_EMPTY_END.sub(b"", page), 9)
        if len(packed) <= size:  # what follows the end of a Flate stream is not read
            mended[start : start + len(packed)] = packed
    return bytes(mended)
