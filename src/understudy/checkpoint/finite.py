"""Finding NaN and infinity without decoding: in floats by their exponent, in blocks by their
scales.
"""

from __future__ import annotations

import numpy as np

from understudy.errors import FormatError
from understudy.formats import q3
from understudy.formats.block_formats import LAYOUTS
from understudy.formats.tensor import BLOCKS, StoredTensor

# Where a block keeps its half-precision scales, in bytes from its start.
_SCALES = {
    "Q8_0": (0,),
    "Q4_0": (0,),
    "Q5_0": (0,),
    "Q4_1": (0, 2),
    "Q5_1": (0, 2),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
} | {name: scales for name, (_, _, scales) in LAYOUTS.items() if scales}


def check_finite(tensor: StoredTensor, where: str) -> None:
    """FormatError when a value, or the scale of a block of values, is not a finite number."""
    bad = num_bad(tensor)
    if bad:
        raise FormatError(
            "weights are not finite numbers",
            where=where,
            found=f"{bad} bad values or scales",
            do="fetch the file again, or train without overflow",
        )


def num_bad(tensor: StoredTensor) -> int:
    """How many values (of blocks: scales) are NaN or infinite."""
    data = np.ascontiguousarray(tensor.data)
    if tensor.format == "F32":
        return int(np.count_nonzero(~np.isfinite(data.view(np.float32))))
    if tensor.format in ("F16", "BF16"):
        exponent = np.uint16(0x7C00 if tensor.format == "F16" else 0x7F80)
        return int(np.count_nonzero((data.view(np.uint16) & exponent) == exponent))
    if tensor.format == q3.NAME:
        high = q3.scale_bytes(data, tensor.shape[-1])[:, 1]
        return int(np.count_nonzero((high & 0x7C) == 0x7C))
    if tensor.format not in _SCALES:
        return int(np.count_nonzero(~np.isfinite(tensor.to_float32())))
    blocks = data.reshape(-1, BLOCKS[tensor.format][1])
    # The exponent of a little-endian half is in its high byte.
    return sum(
        int(np.count_nonzero((blocks[:, at + 1] & 0x7C) == 0x7C)) for at in _SCALES[tensor.format]
    )
