"""Q3_U, this product's three-bit format, in NumPy: the definition that `cpp/q3.cpp` is held to.

A row of a matrix, whose columns are whole groups of 32, is one run of bytes: a half-precision scale
d, then one stream of bits, the lowest of a byte first. For every group it has six bits: the
magnitude of the group's multiplier less one in four, its sign, and whether it is shifted; filled up
to a whole byte. Then for every column a code of three bits.

    w = d / 256 · m · (LEVELS[code] + SHIFT · shift - 16)        m = -16 … -1, 1 … 16

The levels are what squared error left of eight values and a shift where each group of 32 chooses a
multiplier, its sign and its shift: docs/q3.md. A GGUF keeps such a tensor as I8, (rows, bytes of a
row), and names it under `understudy.tensor_formats`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAME = "Q3_U"
GROUP = 32
OFFSET = 16
MAX_MULTIPLIER = 16
STEP = np.float32(1 / 256)  # so that d is of the size of the row's largest weight
SHIFT = 2
LEVELS = np.array([0, 6, 10, 13, 16, 19, 22, 27], np.uint8)  # as in cpp/tensor.h
_CODE_BYTES = 3 * GROUP // 8
_CHUNK_BYTES = 1 << 20  # decoded at a time: as single bits they take eight times the memory

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def row_bytes(columns: int) -> int:
    """Of a row of whole groups."""
    groups = columns // GROUP
    return _header_bytes(groups) + groups * _CODE_BYTES


def columns_of(num_bytes: int) -> int | None:
    """The columns of a row of so many bytes; None where there is no such row."""
    groups = round((num_bytes - 2) / (_CODE_BYTES + 0.75))
    near = [GROUP * count for count in (groups - 1, groups, groups + 1) if count > 0]
    return next((columns for columns in near if row_bytes(columns) == num_bytes), None)


def decode(data: Bytes, columns: int) -> Floats:
    """The values of whole rows, (rows, columns)."""
    rows = data.reshape(-1, row_bytes(columns))
    out = np.empty((len(rows), columns), np.float32)
    step = max(1, _CHUNK_BYTES // rows.shape[1])
    for begin in range(0, len(rows), step):
        out[begin : begin + step] = _decode(rows[begin : begin + step], columns)
    return out


def encode(
    scales: NDArray[np.float16],
    multipliers: NDArray[np.integer],
    shifts: NDArray[np.integer],
    codes: NDArray[np.integer],
) -> Bytes:
    """Flat bytes of scales (rows,), multipliers and shifts (rows, groups) and codes (rows,
    columns)."""
    packed = np.packbits(_bits(codes, 3).reshape(len(codes), -1), axis=1, bitorder="little")
    return join(scales, multipliers, shifts, packed)


def join(
    scales: NDArray[np.float16],
    multipliers: NDArray[np.integer],
    shifts: NDArray[np.integer],
    codes: Bytes,
) -> Bytes:
    """As `encode`, of codes that are packed: (rows, 12 bytes a group)."""
    rows, groups = multipliers.shape
    packed = (np.abs(multipliers) - 1) | (multipliers < 0) << 4 | shifts << 5
    header = np.packbits(_bits(packed, 6).reshape(rows, 6 * groups), axis=1, bitorder="little")
    halves = scales.astype("<f2").view(np.uint8).reshape(rows, 2)
    return np.concatenate([halves, header, codes], axis=1).reshape(-1)


def take_groups(data: Bytes, columns: int, order: NDArray[np.intp]) -> Bytes:
    """The same rows with their groups in another order; nothing is rounded."""
    groups = columns // GROUP
    begin = _header_bytes(groups)
    rows = data.reshape(-1, row_bytes(columns))
    packed = _fields(rows[:, 2:begin], 6, groups)[:, order]
    header = np.packbits(_bits(packed, 6).reshape(len(rows), -1), axis=1, bitorder="little")
    codes = rows[:, begin:].reshape(len(rows), groups, _CODE_BYTES)[:, order]
    parts = [rows[:, :2], header, codes.reshape(len(rows), -1)]
    return np.concatenate(parts, axis=1).reshape(-1)


def scale_bytes(data: Bytes, columns: int) -> Bytes:
    """The bytes of the rows' scales, (rows, 2)."""
    return data.reshape(-1, row_bytes(columns))[:, :2]


def _header_bytes(groups: int) -> int:
    return 2 + -(-6 * groups // 8)


def _decode(rows: Bytes, columns: int) -> Floats:
    groups = columns // GROUP
    begin = _header_bytes(groups)
    d = np.ascontiguousarray(rows[:, :2]).view("<f2").astype(np.float32) * STEP
    packed = _fields(rows[:, 2:begin], 6, groups)
    multipliers = np.where(packed & 16, -1, 1) * ((packed & 15) + 1)
    codes = _fields(rows[:, begin:], 3, columns).reshape(len(rows), groups, GROUP)
    levels = LEVELS.astype(np.int32)[codes] + SHIFT * (packed[..., None] >> 5) - OFFSET
    integers = multipliers[..., None] * levels
    values: Floats = d * integers.astype(np.float32).reshape(len(rows), columns)
    return values


def _fields(stream: Bytes, width: int, count: int) -> NDArray[np.int32]:
    """The first `count` fields of each row, (rows, count)."""
    bits = np.unpackbits(stream, axis=1, bitorder="little")[:, : width * count]
    weights = 1 << np.arange(width, dtype=np.int32)
    fields: NDArray[np.int32] = bits.reshape(len(stream), count, width) @ weights
    return fields


def _bits(values: NDArray[np.integer], width: int) -> Bytes:
    bits: Bytes = (values[..., None] >> np.arange(width) & 1).astype(np.uint8)
    return bits
