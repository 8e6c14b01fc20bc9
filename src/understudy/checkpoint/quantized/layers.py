"""Quantized layers as stored: raw arrays by the names of their parts, and a dequantised matrix made
when it is asked for.

Every method gives float32 values and the float type its tool would give them in; they are rounded
to that type, so that the result equals the tool's own, value by value.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import FormatError
from understudy.formats.tensor import RAW, StoredTensor

MISFIT = "the parts of a quantized layer do not fit each other"
MISFITS = (ValueError, IndexError, ZeroDivisionError, OverflowError, TypeError, KeyError)
Values = NDArray[np.float32]
# E2M1 of the OCP microscaling formats: sign, two bits of exponent, one of mantissa.
E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, 0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


@dataclass(frozen=True, slots=True)
class QuantizedLayer:
    """The stored parts of one linear layer or embedding, by the end of their names (`weight_scale`,
    `qzeros` …).
    """

    name: str
    parts: Mapping[str, StoredTensor]
    where: str

    def __contains__(self, part: str) -> bool:
        return part in self.parts

    def part(self, name: str) -> StoredTensor:
        if name not in self.parts:
            raise FormatError(
                "a part of a quantized layer is missing",
                where=f"{self.where}: {self.name}",
                found=f"no {name}",
            )
        return self.parts[name]

    def shape(self, name: str) -> tuple[int, ...]:
        return self.part(name).shape

    def values(self, name: str) -> Values:
        """A part as float32: scales, codes of 8 bits, factors."""
        return decoded(self.part(name))

    def raw(self, name: str) -> NDArray[Any]:
        """A part of whole numbers in its own type and shape."""
        tensor = self.part(name)
        if (kind := RAW.get(tensor.format)) is None:
            raise FormatError(
                "a part of a quantized layer has the wrong type",
                where=f"{self.where}: {self.name}.{name}",
                expected="whole numbers",
                found=tensor.format,
            )
        return np.ascontiguousarray(tensor.data).view(kind).reshape(tensor.shape)

    def wrong(self, what: str, found: object, expected: object = None) -> FormatError:
        where = f"{self.where}: {self.name}"
        return FormatError(what, where=where, expected=expected, found=found)


@dataclass(frozen=True, slots=True)
class Dequantised:
    """A matrix to be: its shape, the float type it is rounded to, and how its values are made."""

    shape: tuple[int, ...]
    format: str
    make: Callable[[], Values]

    def tensor(self, name: str, where: str) -> StoredTensor:
        """The values. FormatError when the parts do not fit each other."""
        try:
            with np.errstate(all="ignore"):  # what is not finite is refused when it is packed
                values = StoredTensor.of(name, self.make().reshape(self.shape))
            return values.to_format(self.format)
        except MISFITS as error:
            raise FormatError(f"{MISFIT} ({error})", where=f"{where}: {name}") from error


def decoded(tensor: StoredTensor) -> Values:
    """float32 values of a float of any size, or of whole numbers."""
    data = np.ascontiguousarray(tensor.data)
    match tensor.format:
        case "F8_E4M3":
            values = _E4M3[data]
        case "F8_E5M2":
            values = (data.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
        case "F8_E8M0":
            values = np.exp2(data.astype(np.float32) - 127)
        case "F64":
            values = data.view(np.float64).astype(np.float32)
        case format:
            kind = RAW.get(format)
            values = tensor.to_float32() if kind is None else data.view(kind).astype(np.float32)
    return values.reshape(tensor.shape)


def rounded(values: Values, format: str) -> Values:
    """The nearest numbers of a float type, as float32."""
    flat = StoredTensor.of("", values.reshape(1, -1)).to_format(format)
    return flat.to_float32().reshape(values.shape)


def _e4m3() -> Values:
    """E4M3 ("fn"): bias 7, no infinities, 0x7f and 0xff are NaN."""
    codes = np.arange(256)
    exponent, mantissa = (codes >> 3) & 15, codes & 7
    size = np.where(
        exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7.0)
    )
    size[(codes & 0x7F) == 0x7F] = np.nan
    return np.where(codes & 0x80, -size, size).astype(np.float32)


_E4M3 = _e4m3()


def unpack_bits(data: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.uint8]:
    """Numbers of `bits` bits in a row of bytes, the lowest first: (rows, bytes) -> (rows,
    count).
    """
    if bits == 8:
        return data[:, :count]
    if bits == 4:
        return np.stack([data & 15, data >> 4], axis=-1).reshape(len(data), -1)[:, :count]
    spread = np.unpackbits(data, axis=1, count=bits * count, bitorder="little")
    return np.packbits(spread.reshape(len(data), count, bits), axis=-1, bitorder="little")[..., 0]


def as_bytes(words: NDArray[Any]) -> NDArray[np.uint8]:
    """A matrix of words as rows of bytes, little endian."""
    return np.ascontiguousarray(words).view(np.uint8).reshape(len(words), -1)


def spread_groups(
    scales: Values, shape: tuple[int, ...], block: tuple[int, ...] | None = None
) -> Values:
    """Scales of a tensor, of rows, of groups of columns or of blocks, for each value of a matrix.

    Args:
        block: rows and columns of a block where they are known; else what divides the matrix
        evenly.
    """
    if scales.size == 1:
        return np.broadcast_to(scales.reshape(1, 1), shape)
    if scales.ndim == 1:
        scales = scales[:, None]
    for axis in range(2):
        extent, number = shape[axis], scales.shape[axis]
        size = block[axis] if block is not None else -(-extent // number)
        if number != extent:
            scales = np.repeat(scales, size, axis)[(slice(None),) * axis + (slice(extent),)]
    return np.broadcast_to(scales, shape)


def float_format(dtype: object) -> str:
    """The format behind a `torch_dtype`; bfloat16 where none is named, as in the tools."""
    name = str(dtype).removeprefix("torch.")
    return {"float32": "F32", "float16": "F16", "half": "F16", "float": "F32"}.get(name, "BF16")
