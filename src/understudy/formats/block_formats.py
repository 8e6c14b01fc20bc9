"""Block formats of ggml that the compiled core does not know, decoded with NumPy.

A decoder takes blocks as uint8 (n, bytes of a block) and gives float32 (n, values of a block).
Products are formed in ggml's order, so that values are equal to its own and not only close.

Source: the block structs and dequantize functions of ggml (`ggml-common.h`, `ggml-quants.c`,
October 2026). The grids of the IQ formats were found by ggml's authors by search and follow no
formula: `grids.npz` holds them as the format defines them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Words = NDArray[Any]  # of 16 or 32 bits
Decoder = Callable[[Bytes], Floats]

# Name -> (values in a block, bytes of a block, where the block keeps half-precision scales).
LAYOUTS: dict[str, tuple[int, int, tuple[int, ...]]] = {
    "Q2_K": (256, 84, (80, 82)),
    "Q3_K": (256, 110, (108,)),
    "IQ1_S": (256, 50, (0,)),
    "IQ1_M": (256, 56, ()),  # four bits of its scale in each of four words
    "IQ2_XXS": (256, 66, (0,)),
    "IQ2_XS": (256, 74, (0,)),
    "IQ2_S": (256, 82, (0,)),
    "IQ3_XXS": (256, 98, (0,)),
    "IQ3_S": (256, 110, (0,)),
    "IQ4_NL": (32, 18, (0,)),
    "IQ4_XS": (256, 136, (0,)),
    "TQ1_0": (256, 54, (52,)),
    "TQ2_0": (256, 66, (64,)),
    "MXFP4": (32, 17, ()),
    "NVFP4": (64, 36, ()),
    "Q1_0": (128, 18, (0,)),
}
# IQ4_NL's sixteen levels; E2M1's, doubled.
_LEVELS = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
_E2M1 = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.float32)
_IQ1_SHIFT = np.float32(0.125)


def decode(format: str, data: Bytes, count: int) -> Floats:
    """`count` values of a format of `LAYOUTS`, flat.

    Decoded in pieces, for the steps between take several times as much memory as the result."""
    values, size, _ = LAYOUTS[format]
    blocks, out = data.reshape(-1, size), np.empty((count // values, values), np.float32)
    step = max(1, (1 << 18) // values)
    for begin in range(0, len(blocks), step):
        out[begin : begin + step] = _DECODERS[format](
            np.ascontiguousarray(blocks[begin : begin + step])
        )
    return out.reshape(-1)


@cache
def _grids() -> dict[str, Floats]:
    with np.load(Path(__file__).with_name("grids.npz")) as file:
        return {name: file[name].astype(np.float32) for name in file}


@cache
def _sign_bytes() -> Bytes:
    """The signs of eight values by seven bits: the eighth makes the number of minus signs even."""
    seven = np.arange(128, dtype=np.uint8)
    parity = np.bitwise_xor.reduce((seven[:, None] >> np.arange(7)) & 1, axis=1)
    signs: Bytes = (seven | parity << 7).astype(np.uint8)
    return signs


def _half(blocks: Bytes, at: int) -> Floats:
    """The half-precision number at byte `at` of each block, (n, 1)."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view(np.float16).astype(np.float32)


def _words(blocks: Bytes, begin: int, end: int, kind: type[np.uint16] | type[np.uint32]) -> Words:
    return np.ascontiguousarray(blocks[:, begin:end]).view(kind)


def _planes(data: Bytes, width: int, bits: int) -> Bytes:
    """Fields of `bits`, rows of `width` bytes: the lowest of all bytes, then the next."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)[:, None]
    planes: Bytes = data.reshape(len(data), -1, 1, width) >> shifts & np.uint8((1 << bits) - 1)
    return planes


def _in_order(data: Bytes, bits: int) -> Bytes:
    """Fields of `bits`, the lowest of a byte first, (n, all of them)."""
    fields = data[..., None] >> np.arange(0, 8, bits, dtype=np.uint8)
    return (fields & np.uint8((1 << bits) - 1)).reshape(len(data), -1)


def _signs(bits: Bytes) -> Floats:
    """Each byte's bits as +1 (0) and -1 (1), (n, bytes, 8)."""
    return np.where(bits[..., None] >> np.arange(8, dtype=np.uint8) & 1, np.float32(-1), 1)


def _scaled(scales: Floats, values: Floats) -> Floats:
    """Values of a block times the scale of their group; scales (n, groups)."""
    n, groups = scales.shape
    return (scales[:, :, None] * values.reshape(n, groups, -1)).reshape(n, -1)


def _q2_k(blocks: Bytes) -> Floats:
    scales = blocks[:, :16]
    steps = _half(blocks, 80) * (scales & 15).astype(np.float32)
    lows = _half(blocks, 82) * (scales >> 4).astype(np.float32)
    values = _planes(blocks[:, 16:80], 32, 2).astype(np.float32)
    return _scaled(steps, values) - np.repeat(lows, 16, axis=1)


def _q3_k(blocks: Bytes) -> Floats:
    packed = blocks[:, 96:108]
    low = _planes(packed[:, :8], 8, 4).reshape(-1, 16)
    high = _planes(packed[:, 8:], 4, 2).reshape(-1, 16)
    steps = _half(blocks, 108) * ((low | high << 4).astype(np.float32) - 32)
    values = _planes(blocks[:, 32:96], 32, 2).reshape(-1, 256).astype(np.float32)
    is_high = _planes(blocks[:, :32], 32, 1).reshape(-1, 256)
    return _scaled(steps, values - np.where(is_high, np.float32(0), 4))


def _signed_grid(grid: str, scales: Floats, rows: NDArray[Any], signs: Floats) -> Floats:
    """Rows of a grid (n, rows) with their signs, times a scale a group."""
    n, groups = scales.shape
    values = _grids()[grid][rows].reshape(n, groups, -1)
    products: Floats = scales[:, :, None] * values * signs.reshape(n, groups, -1)
    return products.reshape(n, -1)


def _iq2_xxs(blocks: Bytes) -> Floats:
    words = _words(blocks, 2, 66, np.uint32).reshape(-1, 8, 2)
    rows = blocks[:, 2:66].reshape(-1, 8, 8)[:, :, :4].reshape(len(blocks), 32)
    scales, signs = _scale_and_signs(words[..., 1])
    scales = _half(blocks, 0) * scales * np.float32(0.25)
    return _signed_grid("iq2_xxs", scales, rows, signs)


def _scale_and_signs(words: NDArray[np.uint32]) -> tuple[Floats, Floats]:
    """A word: seven bits of signs four times over, then four bits of a scale."""
    scales = np.float32(0.5) + (words >> 28).astype(np.float32)
    chosen = words[..., None] >> np.array([0, 7, 14, 21], np.uint32) & np.uint32(127)
    return scales, _signs(_sign_bytes()[chosen])


def _iq2_xs(blocks: Bytes) -> Floats:
    words = _words(blocks, 2, 66, np.uint16)
    nibbles = _in_order(blocks[:, 66:74], 4).astype(np.float32)
    scales = _half(blocks, 0) * (np.float32(0.5) + nibbles) * np.float32(0.25)
    return _signed_grid("iq2_xs", scales, words & 511, _signs(_sign_bytes()[words >> 9]))


def _iq2_s(blocks: Bytes) -> Floats:
    rows = blocks[:, 2:34].astype(np.uint16) | _in_order(blocks[:, 66:74], 2).astype(np.uint16) << 8
    nibbles = _in_order(blocks[:, 74:82], 4).astype(np.float32)
    scales = _half(blocks, 0) * (np.float32(0.5) + nibbles) * np.float32(0.25)
    return _signed_grid("iq2_s", scales, rows, _signs(blocks[:, 34:66]))


def _iq3_xxs(blocks: Bytes) -> Floats:
    scales, signs = _scale_and_signs(_words(blocks, 66, 98, np.uint32))
    scales = _half(blocks, 0) * scales * np.float32(0.5)
    return _signed_grid("iq3_xxs", scales, blocks[:, 2:66], signs)


def _iq3_s(blocks: Bytes) -> Floats:
    rows = blocks[:, 2:66].astype(np.uint16) | _in_order(blocks[:, 66:74], 1).astype(np.uint16) << 8
    scales = _half(blocks, 0) * (1 + 2 * _in_order(blocks[:, 106:110], 4)).astype(np.float32)
    return _signed_grid("iq3_s", scales, rows, _signs(blocks[:, 74:106]))


def _iq1_s(blocks: Bytes) -> Floats:
    words = _words(blocks, 34, 50, np.uint16)  # (n, 8): three bits of four rows, a scale, the shift
    high = (words[..., None] >> np.array([0, 3, 6, 9], np.uint16) & 7).reshape(-1, 32)
    values = _grids()["iq1_s"][blocks[:, 2:34].astype(np.uint16) | high << 8].reshape(-1, 8, 32)
    shift = np.where(words & 0x8000, -_IQ1_SHIFT, _IQ1_SHIFT)[..., None]
    scales = _half(blocks, 0) * (2 * (words >> 12 & 7) + 1).astype(np.float32)
    return _scaled(scales, values + shift)


def _iq1_m(blocks: Bytes) -> Floats:
    words = _words(
        blocks, 48, 56, np.uint16
    )  # (n, 4): four scales of three bits, four bits of the block's scale
    bits = np.bitwise_or.reduce(words >> 12 << np.array([0, 4, 8, 12], np.uint16), axis=1)
    steps = (words[..., None] >> np.array([0, 3, 6, 9], np.uint16) & 7).reshape(-1, 16)
    scales = bits.view(np.float16).astype(np.float32)[:, None] * (2 * steps + 1).astype(np.float32)
    high = _in_order(blocks[:, 32:48], 4)  # of each row three bits, and its shift
    rows = blocks[:, :32].astype(np.uint16) | (high & 7).astype(np.uint16) << 8
    shift = np.where(high & 8, -_IQ1_SHIFT, _IQ1_SHIFT)[..., None]
    return _scaled(scales, _grids()["iq1_s"][rows] + shift)


def _iq4_nl(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * _LEVELS[_planes(blocks[:, 2:18], 16, 4)].reshape(-1, 32)


def _iq4_xs(blocks: Bytes) -> Floats:
    high = _words(blocks, 2, 4, np.uint16) >> np.arange(0, 16, 2, dtype=np.uint16) & 3
    scales = (_in_order(blocks[:, 4:8], 4) | high << 4).astype(np.float32) - 32
    return _scaled(
        _half(blocks, 0) * scales, _LEVELS[_planes(blocks[:, 8:136], 16, 4)].reshape(-1, 256)
    )


def _tq1_0(blocks: Bytes) -> Floats:
    """Five values of three levels in a byte, as the digits of a fraction in base 3."""
    powers = np.array([1, 3, 9, 27, 81], np.uint8)[:, None]
    parts = [
        blocks[:, begin:end].reshape(-1, 1, end - begin) * powers[:digits]
        for begin, end, digits in ((0, 32, 5), (32, 48, 5), (48, 52, 4))
    ]
    digits = np.concatenate([part.reshape(len(blocks), -1) for part in parts], axis=1)
    return _half(blocks, 52) * ((digits.astype(np.uint16) * 3 >> 8).astype(np.float32) - 1)


def _tq2_0(blocks: Bytes) -> Floats:
    values = _planes(blocks[:, :64], 32, 2).reshape(-1, 256).astype(np.float32)
    return _half(blocks, 64) * (values - 1)


def _mxfp4(blocks: Bytes) -> Floats:
    exponent = blocks[:, :1].astype(np.int32) - 128  # E8M0, halved for the doubled levels
    scales = np.ldexp(np.float32(1), exponent).astype(np.float32)
    return scales * _E2M1[_planes(blocks[:, 1:17], 16, 4)].reshape(-1, 32)


def _nvfp4(blocks: Bytes) -> Floats:
    exponent, mantissa = blocks[:, :4] >> 3 & 15, (blocks[:, :4] & 7).astype(np.float32)
    normal = np.ldexp(1 + mantissa / 8, exponent.astype(np.int32) - 7)
    scales = np.where(exponent, normal, mantissa * np.float32(2**-9)).astype(np.float32)
    scales = np.where(blocks[:, :4] == 0x7F, np.float32(0), scales * np.float32(0.5))
    return _scaled(scales, _E2M1[_planes(blocks[:, 4:36], 8, 4)].reshape(-1, 64))


def _q1_0(blocks: Bytes) -> Floats:
    return _half(blocks, 0) * np.where(_in_order(blocks[:, 2:18], 1), np.float32(1), -1)


_DECODERS: dict[str, Decoder] = {
    "Q2_K": _q2_k,
    "Q3_K": _q3_k,
    "IQ1_S": _iq1_s,
    "IQ1_M": _iq1_m,
    "IQ2_XXS": _iq2_xxs,
    "IQ2_XS": _iq2_xs,
    "IQ2_S": _iq2_s,
    "IQ3_XXS": _iq3_xxs,
    "IQ3_S": _iq3_s,
    "IQ4_NL": _iq4_nl,
    "IQ4_XS": _iq4_xs,
    "TQ1_0": _tq1_0,
    "TQ2_0": _tq2_0,
    "MXFP4": _mxfp4,
    "NVFP4": _nvfp4,
    "Q1_0": _q1_0,
}
