"""bitsandbytes: NF4 and FP4 in blocks with a table of sixteen values, their scales quantized once
more; int8 by rows.

Source: bitsandbytes 0.50 `backends/default/ops.py` and `functional.QuantState`: all in float32,
then the model's type.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy.checkpoint.quantized.layers import Dequantised, QuantizedLayer, Values, float_format

_NESTED_BLOCK = 256
_OF_127 = np.float32(7.874015718698502e-3)  # 1 / 127, as the library writes it


def read(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    if "SCB" in layer:
        return _int8(layer, config)
    state = next((part for part in layer.parts if ".quant_state.bitsandbytes__" in part), None)
    return None if state is None else _four_bits(layer, state)


def _int8(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised:
    def make() -> Values:
        return layer.values("weight") * layer.values("SCB").reshape(-1, 1) * _OF_127

    return Dequantised(layer.shape("weight"), float_format(config.get("dtype")), make)


def _four_bits(layer: QuantizedLayer, state_part: str) -> Dequantised:
    try:
        state = json.loads(layer.raw(state_part).tobytes())
        shape = tuple(int(n) for n in state["shape"])
        block, dtype = int(state["blocksize"]), state.get("dtype")
        nested_block, offset = (
            state.get("nested_blocksize", _NESTED_BLOCK),
            state.get("nested_offset", 0.0),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise layer.wrong(
            "the state of a quantized weight cannot be read", found=str(error)
        ) from error
    count = int(np.prod(shape))

    def make() -> Values:
        packed = layer.raw("weight").reshape(-1)
        codes = np.stack([packed >> 4, packed & 15], axis=-1).reshape(-1)[:count]
        values = layer.values("weight.quant_map")[codes]
        scales = layer.values("weight.absmax")
        if "weight.nested_absmax" in layer:
            scales = layer.values("weight.nested_quant_map")[layer.raw("weight.absmax")]
            outer = np.repeat(layer.values("weight.nested_absmax"), nested_block)[: scales.size]
            scales = scales.reshape(-1) * outer + np.float32(offset)
        matrix: Values = values * np.repeat(scales.reshape(-1), block)[:count]
        return matrix

    return Dequantised(shape, float_format(dtype), make)
