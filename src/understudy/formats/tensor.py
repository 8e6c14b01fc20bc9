"""One tensor as it lies in a file: a name, a shape, a ggml type name and its bytes (usually a view
of a memory map).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from understudy import core
from understudy.errors import FormatError, UnsupportedError
from understudy.formats import block_formats, q3

# ggml type name -> (values in a block, bytes of a block). Blocks run along the last axis. Q3_U is
# our own: of its rows the groups alone (`row_bytes`).
BLOCKS: dict[str, tuple[int, int]] = {
    "F32": (1, 4),
    "F16": (1, 2),
    "BF16": (1, 2),
    "Q8_0": (32, 34),
    "Q4_0": (32, 18),
    "Q4_1": (32, 20),
    "Q5_0": (32, 22),
    "Q5_1": (32, 24),
    "Q4_K": (256, 144),
    "Q5_K": (256, 176),
    "Q6_K": (256, 210),
    q3.NAME: (q3.GROUP, q3.row_bytes(q3.GROUP)),
} | {name: layout[:2] for name, layout in block_formats.LAYOUTS.items()}
OWN_FORMATS = (q3.NAME,)  # that ggml has no type for: own_formats.py
# What quantized folders store beside floats: safetensors' type -> NumPy's, None where NumPy has
# none (one byte a value). Such tensors are read as they are; no matrix of the network may be one.
RAW: dict[str, str | None] = {
    "U8": "u1",
    "I8": "i1",
    "BOOL": "u1",
    "U16": "<u2",
    "I16": "<i2",
    "U32": "<u4",
    "I32": "<i4",
    "U64": "<u8",
    "I64": "<i8",
    "F64": "<f8",
    "F8_E4M3": None,
    "F8_E5M2": None,
    "F8_E8M0": None,
}
_CHUNK_VALUES = 1 << 22  # values decoded at a time when a tensor changes its format


def num_bytes(format: str, shape: tuple[int, ...], where: object = None) -> int:
    """Bytes of a tensor of this shape.

    Raises:
        UnsupportedError: a format that is not read.
        FormatError: rows are not whole blocks.
    """
    if format in RAW:
        return math.prod(shape) * np.dtype(RAW[format] or "u1").itemsize
    if format not in BLOCKS:
        raise UnsupportedError(
            "tensor format is not implemented", where=where, expected=" ".join(BLOCKS), found=format
        )
    values = BLOCKS[format][0]
    columns = shape[-1] if shape else 1
    if columns % values:
        raise FormatError(
            f"rows are not whole {format} blocks",
            where=where,
            expected=f"a multiple of {values}",
            found=columns,
        )
    return math.prod(shape[:-1]) * row_bytes(format, columns)


def row_bytes(format: str, columns: int) -> int:
    """Bytes of a row of whole blocks in a format of `BLOCKS`."""
    if format == q3.NAME:
        return q3.row_bytes(columns)
    values, size = BLOCKS[format]
    return columns // values * size


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor:
    """`shape` is row-major, (rows, columns) for a matrix; `data` are flat bytes, `format` a key of
    `BLOCKS` or `RAW`.
    """

    name: str
    shape: tuple[int, ...]
    format: str
    data: NDArray[np.uint8]

    @staticmethod
    def of(name: str, values: NDArray[np.float32]) -> StoredTensor:
        """A float32 tensor from an array."""
        values = np.ascontiguousarray(values, np.float32)
        return StoredTensor(name, values.shape, "F32", values.reshape(-1).view(np.uint8))

    def to_float32(self) -> NDArray[np.float32]:
        """The values, decoded, in `shape`."""
        columns = self.shape[-1] if self.shape else 1
        return _decode(self.format, self.data, columns).reshape(self.shape)

    def to_format(self, format: str) -> StoredTensor:
        """The same values in another format (F32 F16 BF16 Q8_0 Q4_0 Q4_1 Q3_U), rounded where it
        cannot hold them.

        Rows are decoded in chunks, so that the float32 of a whole embedding never stands in memory.
        """
        if format == self.format:
            return self
        out = np.empty(num_bytes(format, self.shape, self.name), np.uint8)
        rows = math.prod(self.shape[:-1])
        source, target = self.data.reshape(rows, -1), out.reshape(rows, -1)
        step = max(1, _CHUNK_VALUES // max(1, self.shape[-1]))
        for begin in range(0, rows, step):
            part = source[begin : begin + step]
            values = _decode(self.format, part.reshape(-1), self.shape[-1])
            target[begin : begin + step] = core.quantize(
                format, values.reshape(len(part), -1)
            ).reshape(len(part), -1)
        return StoredTensor(self.name, self.shape, format, out)

    def take_rows(self, order: NDArray[np.intp]) -> StoredTensor:
        """The rows in another order, without decoding them (blocks run along the columns)."""
        rows = self.data.reshape(self.shape[0], -1)[order]
        return StoredTensor(self.name, (len(order), *self.shape[1:]), self.format, rows.reshape(-1))

    def renamed(self, name: str) -> StoredTensor:
        return StoredTensor(name, self.shape, self.format, self.data)


def _decode(format: str, data: NDArray[np.uint8], columns: int) -> NDArray[np.float32]:
    """The values of whole rows, (rows, columns) or flat."""
    if format == q3.NAME:
        return q3.decode(data, columns)
    values, size = BLOCKS.get(format, (1, 1))
    count = data.size // size * values
    if format in block_formats.LAYOUTS:
        return block_formats.decode(format, data, count)
    return core.dequantize(format, np.ascontiguousarray(data), count)
