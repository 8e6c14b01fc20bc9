"""From blocks of 256 values to blocks of 32 that hold what the core makes of them: Q4_K becomes
Q4_1 with the same codes, every other Q8_0. For whoever must take a row apart between two heads.

The layout is that of ggml (`block_q4_K`, `get_scale_min_k4`; gguf 0.19).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from understudy.formats.tensor import BLOCKS, StoredTensor

_SUPER = 256


def finer_format(format: str) -> str:
    """The format of `to_finer`."""
    if BLOCKS[format][0] < _SUPER:
        return format
    return "Q4_1" if format == "Q4_K" else "Q8_0"


def to_finer(tensor: StoredTensor) -> StoredTensor:
    """The tensor in blocks of at most 32 values."""
    if tensor.format != "Q4_K":
        return tensor.to_format(finer_format(tensor.format))
    blocks = np.ascontiguousarray(tensor.data).reshape(-1, BLOCKS["Q4_K"][1])
    halves = blocks[:, :4].copy().view(np.float16).astype(np.float32)  # d, dmin
    scales, minima = _six_bits(blocks[:, 4:16])
    made = np.empty((len(blocks), 8, BLOCKS["Q4_1"][1]), np.uint8)
    for at, factors in ((0, halves[:, :1] * scales), (2, -halves[:, 1:] * minima)):
        made[:, :, at : at + 2] = factors.astype(np.float16)[..., None].view(np.uint8)
    codes = blocks[:, 16:].reshape(-1, 4, 1, 32)
    codes = np.concatenate([codes & 15, codes >> 4], axis=2).reshape(-1, 8, 2, 16)
    made[:, :, 4:] = codes[:, :, 0] | codes[:, :, 1] << 4
    return StoredTensor(tensor.name, tensor.shape, "Q4_1", made.reshape(-1))


def _six_bits(packed: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Eight scales and eight minima of 6 bits out of 12 bytes: the upper two bits of the last four
    stand above the first four."""
    low, middle, high = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([low & 63, (high & 15) | (low >> 6 << 4)], axis=1)
    minima = np.concatenate([middle & 63, (high >> 4) | (middle >> 6 << 4)], axis=1)
    return scales, minima
