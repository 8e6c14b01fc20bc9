"""A saved stretch of cache: tokens and the pages that hold their keys and values, with the model's
fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.atomic import written_aside
from understudy.errors import FormatError
from understudy.formats.safetensors_folder import map_file

# then: length of the header, header (JSON), checksum of header and pages, pages
MAGIC = b"UNDERSTUDY-KV\n\1\0"
_CHECKSUM_BYTES = 32


def write_state(
    path: Path, fingerprint: str, tokens: list[int], pages: list[NDArray[np.uint8]]
) -> None:
    """Writes the file aside and renames it."""
    page_bytes = pages[0].size if pages else 0
    header = json.dumps(
        {
            "fingerprint": fingerprint,
            "tokens": tokens,
            "pages": len(pages),
            "page_bytes": page_bytes,
        }
    ).encode()
    checksum = hashlib.blake2b(header, digest_size=_CHECKSUM_BYTES)
    for page in pages:
        checksum.update(page.tobytes())
    with written_aside(path) as aside, aside.open("wb") as file:
        file.write(MAGIC + struct.pack("<Q", len(header)) + header + checksum.digest())
        for page in pages:
            file.write(page.tobytes())


def read_state(path: Path) -> tuple[str, list[int], list[NDArray[np.uint8]]]:
    """Fingerprint, tokens and pages.

    Raises:
        MissingError: no such file.
        FormatError: not such a file, or a damaged one.
    """
    data = map_file(path)
    try:
        header_bytes, body = _parts(data)
        header = json.loads(header_bytes)
        fingerprint, tokens = str(header["fingerprint"]), [int(token) for token in header["tokens"]]
        count, page_bytes = int(header["pages"]), int(header["page_bytes"])
        if count < 0 or page_bytes < 0 or body.size != count * page_bytes:
            raise ValueError("wrong length")
    except (ValueError, KeyError, TypeError, struct.error, RecursionError) as error:
        raise FormatError(f"not a saved state ({error})", where=path) from error
    return fingerprint, tokens, [body[i * page_bytes : (i + 1) * page_bytes] for i in range(count)]


def _parts(data: NDArray[np.uint8]) -> tuple[bytes, NDArray[np.uint8]]:
    """Header and pages of a whole file; ValueError when it is none or not whole."""
    begin = len(MAGIC) + 8
    if data[: len(MAGIC)].tobytes() != MAGIC:
        raise ValueError("wrong beginning")
    (size,) = struct.unpack("<Q", data[len(MAGIC) : begin].tobytes())
    end = begin + size
    header, body = data[begin:end].tobytes(), data[end + _CHECKSUM_BYTES :]
    checksum = hashlib.blake2b(header, digest_size=_CHECKSUM_BYTES)
    checksum.update(body.data)
    if data[end : end + _CHECKSUM_BYTES].tobytes() != checksum.digest():
        raise ValueError("wrong checksum")
    return header, body
