"""The packed cache: what the kernels read, as one memory-mapped file, so that a second start is
immediate.

Layout: the magic, the length of a JSON header, a checksum, the header (key, tensors with format,
rows, columns, offset, size), then the tensors at multiples of 4096. The key names the source (path,
size, time), the formats and `LAYOUT`; another key, another file. The checksum is the SHA-256 of the
header and of the sums of all pages, so that it costs no more than reading the memory once; it is
compared at each load. A file that is cut while a model runs on it ends in an error of the next step
(`core.map_file`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.atomic import written_aside
from understudy.core import PackedTensor
from understudy.errors import FormatError

MAGIC = b"UNDERSTUDY-PACK\n"
LAYOUT = 5  # raise it when cpp/tensor.h changes
PAGE = 4096
_HEAD = struct.Struct("<16sQ32s")  # magic, bytes of the header, checksum


def cache_folder() -> Path:
    """UNDERSTUDY_CACHE, else `understudy` in the user's cache folder."""
    chosen = os.environ.get("UNDERSTUDY_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy"


@dataclass(frozen=True, slots=True)
class PackedEntry:
    """One tensor to write: `fill` puts exactly `num_bytes` bytes into the array that it is
    given.
    """

    name: str
    format: str
    rows: int
    columns: int
    num_bytes: int
    fill: Callable[[NDArray[np.uint8]], None]


def write_packed(
    path: Path,
    key: dict[str, Any],
    entries: list[PackedEntry],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Writes the file aside, tensor by tensor into its map, and renames it."""
    table: list[tuple[str, str, int, int, int, int]] = []
    offset = 0
    for entry in entries:
        table.append((entry.name, entry.format, entry.rows, entry.columns, offset, entry.num_bytes))
        offset += -(-entry.num_bytes // PAGE) * PAGE
    header = json.dumps({"key": key, "tensors": table}).encode()
    start = -(-(_HEAD.size + len(header)) // PAGE) * PAGE
    with written_aside(path) as aside:
        with aside.open("wb") as file:
            file.write(_HEAD.pack(MAGIC, len(header), bytes(32)) + header)
            _reserve(file.fileno(), start + max(offset, PAGE))
        whole = np.memmap(aside, np.uint8, "r+")
        for done, (entry, row) in enumerate(zip(entries, table, strict=True)):
            begin = start + row[4]
            entry.fill(whole[begin : begin + entry.num_bytes])
            if progress is not None:
                progress(done + 1, len(entries))
        checksum = np.frombuffer(_checksum(header, whole[start:]), np.uint8)
        whole[_HEAD.size - len(checksum) : _HEAD.size] = checksum
        whole.flush()


def _checksum(header: bytes, pages: NDArray[np.uint8]) -> bytes:
    """SHA-256 of the header and of each page's sum of 64-bit words."""
    sums = np.add.reduce(pages.view(np.uint64).reshape(-1, PAGE // 8), axis=1)
    return hashlib.sha256(header + sums.tobytes()).digest()


def _reserve(descriptor: int, size: int) -> None:
    """Makes room on the disk, so that a full one is met here and not as a signal while the map is
    written.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def read_packed(path: Path, key: dict[str, Any]) -> dict[str, PackedTensor] | None:
    """The tensors of a packed file, mapped; None when it is not there, is for another key, or is
    damaged.
    """
    try:
        with path.open("rb") as file:
            mapped = core.map_file(file.fileno())
        tensors = _tensors(mapped, key)
    except (OSError, ValueError, KeyError, TypeError, FormatError, struct.error):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the last use, which `understudy cache limit` goes by
    return tensors


def packed_source(path: Path) -> Path | None:
    """The checkpoint that a packed file was made of; None when its header cannot be read."""
    try:
        with path.open("rb") as file:
            magic, size, _ = _HEAD.unpack(file.read(_HEAD.size))
            header = json.loads(file.read(size)) if magic == MAGIC and size < 1 << 28 else {}
            return Path(header["key"]["path"])
    except (OSError, ValueError, KeyError, TypeError, struct.error):
        return None


def _tensors(mapped: NDArray[np.uint8], key: dict[str, Any]) -> dict[str, PackedTensor]:
    magic, size, checksum = _HEAD.unpack(mapped[: _HEAD.size].tobytes())
    if magic != MAGIC:
        raise FormatError("not a packed file")
    raw = mapped[_HEAD.size : _HEAD.size + size].tobytes()
    start = -(-(_HEAD.size + size) // PAGE) * PAGE
    if _checksum(raw, mapped[start:]) != checksum:
        raise FormatError("packed file is damaged")
    header = json.loads(raw)
    if header["key"] != key:
        raise FormatError("packed for another source")
    tensors = {}
    for name, format, rows, columns, offset, num_bytes in header["tensors"]:
        data = mapped[start + offset : start + offset + num_bytes]
        if data.size != num_bytes:
            raise FormatError("packed file is truncated")
        tensors[name] = PackedTensor(format, rows, columns, data)
    return tensors
