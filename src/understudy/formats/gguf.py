"""GGUF files, split ones too: a bounds-checked, memory-mapped reader of versions 2 and 3, and a
writer of version 3.

Every count and length is held against the bytes that are left before anything is allocated, so a
broken file ends in a `FormatError` and never in a crash, a hang or a flood of memory. Layout: the
GGUF specification of ggml.
"""

from __future__ import annotations

import itertools
import mmap
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from understudy.atomic import written_aside
from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats import own_formats
from understudy.formats.file_kinds import LONGEST_SIGN, kind_of
from understudy.formats.tensor import StoredTensor, num_bytes

MAGIC = b"GGUF"
ALIGNMENT = 32
MAX_DIMENSIONS = 4
MAX_SHARDS = 10_000
_SHARD_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")

_TYPE_NAMES = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    6: "Q5_0",
    7: "Q5_1",
    8: "Q8_0",
    10: "Q2_K",
    11: "Q3_K",
    12: "Q4_K",
    13: "Q5_K",
    14: "Q6_K",
    15: "Q8_K",
    16: "IQ2_XXS",
    17: "IQ2_XS",
    18: "IQ3_XXS",
    19: "IQ1_S",
    20: "IQ4_NL",
    21: "IQ3_S",
    22: "IQ2_S",
    23: "IQ4_XS",
    24: "I8",
    25: "I16",
    26: "I32",
    27: "I64",
    28: "F64",
    29: "IQ1_M",
    30: "BF16",
    34: "TQ1_0",
    35: "TQ2_0",
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1_0",
}
_TYPE_CODES = {name: code for code, name in _TYPE_NAMES.items()}

# Metadata value types: code -> (struct letter, bytes).
_SCALARS = {
    0: ("B", 1),
    1: ("b", 1),
    2: ("H", 2),
    3: ("h", 2),
    4: ("I", 4),
    5: ("i", 4),
    6: ("f", 4),
    7: ("?", 1),
    10: ("Q", 8),
    11: ("q", 8),
    12: ("d", 8),
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True, slots=True)
class GgufFile:
    """Metadata by key and tensors by name, in the file's order; data are views of the map."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, StoredTensor]


class _Cursor:
    """Reads forward through the map; every step is checked against the end."""

    def __init__(self, data: memoryview, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def fail(self, what: str, **parts: object) -> FormatError:
        return FormatError(
            what, where=f"{self.path} at byte {self.at}", do="fetch the file again", **parts
        )

    def take(self, count: int) -> memoryview:
        if count > (left := len(self.data) - self.at):
            raise self.fail("file ends too early", expected=f"{count} bytes", found=f"{left}")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, letter: str, size: int) -> Any:
        return struct.unpack("<" + letter, self.take(size))[0]

    def count(self, what: str, least_bytes: int) -> int:
        """A 64-bit count of things that take at least `least_bytes` each."""
        value: int = self.number("Q", 8)
        if value * least_bytes > len(self.data) - self.at:
            raise self.fail(f"impossible number of {what}", found=value)
        return value

    def string(self, encoding_errors: str = "strict") -> str:
        raw = bytes(self.take(self.count("characters", 1)))
        try:
            return raw.decode("utf-8", encoding_errors)
        except UnicodeDecodeError as error:
            raise self.fail(f"text is not UTF-8 ({error.reason})") from error

    def strings(self, length: int) -> list[str]:
        """As `string` time and again, in one loop: a vocabulary has 256,000."""
        data, at, end, size_of = self.data, self.at, len(self.data), struct.Struct("<Q").unpack_from
        texts = []
        for _ in range(length):
            if end - at < 8 or (size := size_of(data, at)[0]) > end - at - 8:
                self.at = at
                raise self.fail("impossible number of characters")
            at += 8 + size
            texts.append(str(data[at - size : at], "utf-8", "surrogateescape"))
        self.at = at
        return texts

    def value(self, code: int, depth: int = 0) -> Any:
        if code in _SCALARS:
            return self.number(*_SCALARS[code])
        if code == _STRING:
            return self.string("surrogateescape")
        if code != _ARRAY or depth > 2:
            raise self.fail("unknown metadata type", found=code)
        inner: int = self.number("I", 4)
        if inner in _SCALARS:
            letter, size = _SCALARS[inner]
            length = self.count("array entries", size)
            return np.frombuffer(
                self.take(length * size), np.dtype(letter).newbyteorder("<")
            ).tolist()
        length = self.count("array entries", 8)
        if inner == _STRING:
            return self.strings(length)
        return [self.value(inner, depth + 1) for _ in range(length)]


def shard_paths(path: Path) -> list[Path]:
    """The files of a GGUF that `llama-gguf-split` cut up, in order, by the name of any of them;
    else the file alone.

    They are called `NAME-00001-of-00003.gguf` and so on (`llama_split_path` of llama.cpp)."""
    if (match := _SHARD_NAME.fullmatch(path.name)) is None:
        return [path]
    name, count = match[1], match[3]
    return [path.with_name(f"{name}-{i:05}-of-{count}.gguf") for i in range(1, int(count) + 1)]


def read_gguf(path: str | Path) -> GgufFile:
    """Opens a GGUF file, or all files of a split one by any of them; tensors are mapped.

    Raises:
        MissingError: no such file, or a part of a split one is not there.
        FormatError: truncated, mutated, or not GGUF, or parts that do not belong together.
        UnsupportedError: a version or tensor type that is not implemented.
    """
    path = Path(path)
    file = _read_file(path)
    count = file.metadata.get("split.count", 1)
    if not isinstance(count, int) or not 0 <= count <= MAX_SHARDS:
        raise FormatError("split.count is not a number of files", where=path, found=count)
    file = file if count <= 1 else _joined(file, count)
    return replace(file, tensors=own_formats.restored(file.tensors, file.metadata, file.path))


def _joined(file: GgufFile, count: int) -> GgufFile:
    """The tensors of all parts under the metadata of the first, which alone has the model's."""
    paths = shard_paths(file.path)
    where = f"{file.path}: part {_part_number(file) + 1} of a model split into {count} files"
    if len(paths) != count:
        raise FormatError(
            "a part of a split GGUF must keep its name, by which the others are found",
            where=where,
            expected=f"NAME-00001-of-{count:05}.gguf",
            found=file.path.name,
        )
    tensors: dict[str, StoredTensor] = {}
    metadata: dict[str, Any] = {}
    for number, path in enumerate(paths):
        if not path.exists():
            raise MissingError(
                "a part of a split GGUF is missing", where=path, do="fetch all of its parts"
            )
        part = file if path == file.path else _read_file(path)
        if (_part_number(part), part.metadata.get("split.count")) != (number, count):
            raise FormatError("not the part that its name says", where=path, expected=where)
        if repeated := tensors.keys() & part.tensors.keys():
            raise FormatError("tensor is there twice", where=path, found=min(repeated))
        metadata = metadata or part.metadata
        tensors |= part.tensors
    total = metadata.get("split.tensors.count", len(tensors))
    if total != len(tensors):
        raise FormatError(
            "parts of a split GGUF hold another number of tensors than it says",
            where=file.path,
            expected=total,
            found=len(tensors),
        )
    return GgufFile(paths[0], metadata, tensors)


def _part_number(file: GgufFile) -> int:
    number = file.metadata.get("split.no", 0)
    return number if isinstance(number, int) else -1


def _read_file(path: Path) -> GgufFile:
    try:
        with path.open("rb") as file:
            if what := kind_of(file.read(LONGEST_SIGN)):
                do = "fetch the model file itself"
                raise FormatError(f"not a GGUF file but {what}", where=path, do=do)
            if file.seek(0, 2) < 24:
                raise FormatError("file is too short for GGUF", where=path)
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise MissingError(f"cannot open: {error.strerror or error}", where=path) from error
    cursor = _Cursor(data, path)
    if bytes(cursor.take(4)) != MAGIC:
        raise FormatError(
            "not a GGUF file",
            where=path,
            expected="GGUF in the first four bytes",
            found=bytes(data[:4]),
        )
    version = cursor.number("I", 4)
    if version not in (2, 3):
        raise UnsupportedError(
            "GGUF version is not implemented", where=path, expected="2 or 3", found=version
        )
    num_tensors = cursor.count("tensors", 24)
    num_keys = cursor.count("metadata keys", 13)
    metadata: dict[str, Any] = {}
    for _ in range(num_keys):
        key = cursor.string()
        if key in metadata:
            raise cursor.fail("metadata key is there twice", found=key)
        metadata[key] = cursor.value(cursor.number("I", 4))
    return GgufFile(path, metadata, _read_tensors(cursor, num_tensors, metadata))


def _read_tensors(
    cursor: _Cursor, num_tensors: int, metadata: Mapping[str, Any]
) -> dict[str, StoredTensor]:
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if (
        not isinstance(alignment, int)
        or alignment <= 0
        or alignment & (alignment - 1)
        or alignment > 1 << 20
    ):
        raise cursor.fail("general.alignment is not a power of two", found=alignment)
    entries = [_read_tensor_entry(cursor) for _ in range(num_tensors)]
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, StoredTensor] = {}
    spans = []
    for name, shape, format, offset in entries:
        where = f"{cursor.path}: tensor {name}"
        size = num_bytes(format, shape, where)
        if offset % alignment or start + offset + size > len(cursor.data):
            raise FormatError(
                "tensor lies outside the file",
                where=where,
                expected=f"at most {len(cursor.data)} bytes",
                found=f"{size} bytes at {start + offset}",
                do="fetch the file again",
            )
        if name in tensors:
            raise FormatError("tensor is there twice", where=where)
        spans.append((offset, offset + size, name))
        data = np.frombuffer(cursor.data, np.uint8, size, start + offset)
        tensors[name] = StoredTensor(name, shape, format, data)
    spans.sort()
    for (_, end, first), (begin, _, second) in itertools.pairwise(spans):
        if begin < end:
            raise FormatError("tensors overlap", where=cursor.path, found=f"{first} and {second}")
    return tensors


def _read_tensor_entry(cursor: _Cursor) -> tuple[str, tuple[int, ...], str, int]:
    name = cursor.string()
    dimensions = cursor.number("I", 4)
    if not 1 <= dimensions <= MAX_DIMENSIONS:
        raise cursor.fail(
            f"tensor {name} has a wrong number of dimensions", expected="1 to 4", found=dimensions
        )
    shape = tuple(cursor.number("Q", 8) for _ in range(dimensions))[::-1]
    if any(extent == 0 or extent > 1 << 40 for extent in shape):
        raise cursor.fail(f"tensor {name} has an impossible shape", found=shape)
    code = cursor.number("I", 4)
    return name, shape, _TYPE_NAMES.get(code, f"type {code}"), cursor.number("Q", 8)


# ---- writing ----


def write_gguf(
    path: str | Path,
    metadata: Mapping[str, Any],
    shapes: Iterable[tuple[str, tuple[int, ...], str]],
    tensors: Iterable[StoredTensor],
) -> None:
    """Writes a GGUF file aside and renames it.

    Args:
        metadata: by key; Python ints, floats, bools, strings and lists of one kind. A type (that of
            the entries for a list) can be forced by a pair (type code, value).
        shapes: name, row-major shape and format of each tensor, in order: known before the data,
            which are streamed.
        tensors: the tensors themselves, in the same order.
    """
    path, shapes = Path(path), list(shapes)
    metadata = {**metadata, **own_formats.metadata_of(shapes)}
    with written_aside(path) as aside, aside.open("wb") as file:
        file.write(MAGIC + struct.pack("<IQQ", 3, len(shapes), len(metadata)))
        for key, value in metadata.items():
            file.write(_string(key) + _value(value))
        offset = 0
        for name, shape, format in shapes:
            extents, type_name = own_formats.carried(shape, format)
            file.write(_string(name) + struct.pack("<I", len(extents)))
            file.write(b"".join(struct.pack("<Q", extent) for extent in extents[::-1]))
            file.write(struct.pack("<IQ", _TYPE_CODES[type_name], offset))
            offset += -(-num_bytes(format, shape, name) // ALIGNMENT) * ALIGNMENT
        for (name, shape, format), tensor in zip(shapes, tensors, strict=True):
            if (tensor.name, tensor.shape, tensor.format) != (name, shape, format):
                raise ValueError(
                    f"{tensor.name} {tensor.shape} {tensor.format} came where {name} was announced"
                )
            file.write(b"\0" * (-file.tell() % ALIGNMENT))
            file.write(np.ascontiguousarray(tensor.data).data)
        file.write(b"\0" * (-file.tell() % ALIGNMENT))


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return struct.pack("<Q", len(raw)) + raw


def _code_of(value: Any) -> int:
    if isinstance(value, bool):
        return 7
    if isinstance(value, int):
        return 4 if 0 <= value < 1 << 32 else 11
    if isinstance(value, float):
        return 6
    if isinstance(value, str):
        return _STRING
    raise TypeError(f"GGUF has no type for {type(value).__name__}")


def _value(value: Any) -> bytes:
    forced = None
    if isinstance(value, tuple):
        forced, value = value
    if isinstance(value, list):
        codes = {_code_of(entry) for entry in value} or {_STRING}
        inner = (
            codes.pop()
            if len(codes) == 1
            else 5
            if all(isinstance(entry, int) for entry in value)
            else 6
        )
        inner = inner if forced is None else forced
        head = struct.pack("<IIQ", _ARRAY, inner, len(value))
        if inner == _STRING:
            return head + b"".join(_string(entry) for entry in value)
        return head + np.asarray(value, np.dtype(_SCALARS[inner][0]).newbyteorder("<")).tobytes()
    code = _code_of(value) if forced is None else forced
    if code == _STRING:
        return struct.pack("<I", code) + _string(value)
    return struct.pack("<I" + _SCALARS[code][0], code, value)
