"""Text chunks of PNG files: read with every CRC and size checked, replaced without touching the
picture.

PNG specification, third edition (W3C 2025), sections 5 and 11.3.3: a signature, then chunks of
length (4 bytes, big endian) · type (4 bytes) · data · CRC-32 of type and data.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

from understudy.errors import DocumentError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS = 100_000
MAX_TEXT_BYTES = 24 << 20  # of one text chunk, inflated: a card of 16 MiB in base64
TEXT_TYPES = (b"tEXt", b"zTXt", b"iTXt")


@dataclass(frozen=True, slots=True)
class PngChunk:
    kind: bytes  # four letters
    data: bytes

    def to_bytes(self) -> bytes:
        return (
            struct.pack(">I", len(self.data))
            + self.kind
            + self.data
            + struct.pack(">I", zlib.crc32(self.kind + self.data))
        )


def read_chunks(data: bytes, where: object = "PNG") -> tuple[list[PngChunk], bytes]:
    """The chunks of a file, and the bytes after its end chunk (some programs keep things there).

    Raises:
        DocumentError: no PNG, cut short, a wrong CRC, or more chunks than any picture has.
    """
    if not data.startswith(SIGNATURE):
        raise DocumentError(
            "not a PNG file", where=where, expected="the PNG signature", found=data[:8]
        )
    at, chunks = len(SIGNATURE), []
    while True:
        if at + 12 > len(data):
            raise DocumentError(
                "PNG is cut short",
                where=where,
                expected="an IEND chunk",
                found=f"{len(data)} bytes",
            )
        length = struct.unpack_from(">I", data, at)[0]
        kind, end = data[at + 4 : at + 8], at + 8 + length
        if length > 0x7FFFFFFF or end + 4 > len(data):
            raise DocumentError(
                "PNG chunk is longer than the file",
                where=where,
                found=f"{kind!r} of {length} bytes at {at}",
            )
        body = data[at + 8 : end]
        if struct.unpack_from(">I", data, end)[0] != zlib.crc32(body, zlib.crc32(kind)):
            raise DocumentError(
                "PNG chunk is damaged (wrong CRC)",
                where=where,
                found=f"{kind!r} at byte {at}",
                do="fetch the file again",
            )
        chunks.append(PngChunk(kind, body))
        at = end + 4
        if kind == b"IEND":
            return chunks, data[at:]
        if len(chunks) > MAX_CHUNKS:
            raise DocumentError(
                "PNG has too many chunks", where=where, expected=f"at most {MAX_CHUNKS}"
            )


def write_chunks(chunks: Sequence[PngChunk], tail: bytes = b"") -> bytes:
    return SIGNATURE + b"".join(chunk.to_bytes() for chunk in chunks) + tail


def keyword_of(chunk: PngChunk) -> str | None:
    """The keyword of a text chunk, None for other chunks."""
    return chunk.data.partition(b"\0")[0].decode("latin-1") if chunk.kind in TEXT_TYPES else None


def text_of(chunk: PngChunk, where: object = "PNG") -> bytes:
    """The text of a text chunk, inflated where it is compressed; at most `MAX_TEXT_BYTES`."""
    keyword, _, rest = chunk.data.partition(b"\0")
    is_compressed = chunk.kind == b"zTXt"
    if chunk.kind == b"iTXt":  # compression flag, method, language tag, translated keyword, text
        is_compressed = rest[:1] == b"\1"
        rest = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    elif is_compressed:
        rest = rest[1:]
    name = keyword.decode("latin-1")
    if not is_compressed:
        if len(rest) > MAX_TEXT_BYTES:
            raise DocumentError(
                "PNG text is too large",
                where=f"{where}: {name}",
                expected=f"at most {MAX_TEXT_BYTES} bytes",
                found=len(rest),
            )
        return rest
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(rest, MAX_TEXT_BYTES + 1)
    except zlib.error as error:
        raise DocumentError(
            f"PNG text cannot be inflated ({error})", where=f"{where}: {name}"
        ) from error
    if len(text) > MAX_TEXT_BYTES:
        raise DocumentError(
            "PNG text inflates to more than any card needs",
            where=f"{where}: {name}",
            expected=f"at most {MAX_TEXT_BYTES} bytes",
        )
    if not inflater.eof:
        raise DocumentError("PNG text is cut short", where=f"{where}: {name}")
    return text


def text_chunk(keyword: str, text: bytes) -> PngChunk:
    return PngChunk(b"tEXt", keyword.encode("latin-1") + b"\0" + text)


def plain_picture(
    width: int = 256, height: int = 384, color: tuple[int, int, int] = (72, 88, 104)
) -> bytes:
    """A picture of one colour, for a card that has none."""
    rows = (b"\0" + bytes(color) * width) * height
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return write_chunks(
        [
            PngChunk(b"IHDR", header),
            PngChunk(b"IDAT", zlib.compress(rows, 9)),
            PngChunk(b"IEND", b""),
        ]
    )
