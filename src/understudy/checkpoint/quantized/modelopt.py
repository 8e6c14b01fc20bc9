"""NVIDIA's ModelOpt: FP8, NVFP4, and INT4-AWQ packed by pairs of output rows.

Source: modelopt 0.47, `torch/quantization/qtensor` (dequantize) and `torch/export/quant_utils.py`
(packing).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from understudy.checkpoint.quantized.layers import (
    E2M1,
    Dequantised,
    QuantizedLayer,
    Values,
    as_bytes,
    float_format,
    rounded,
    spread_groups,
    unpack_bits,
)
from understudy.errors import UnsupportedError

ALGORITHMS = (
    "FP8",
    "FP8_PER_CHANNEL_PER_TOKEN",
    "FP8_PB_WO",
    "NVFP4",
    "NVFP4_AWQ",
    "W4A16_AWQ",
    "W4A8_AWQ",
    "INT8_SQ",
    "INT8_WO",
    "W8A16",
)


def check(config: Mapping[str, Any], where: object) -> None:
    inner = (
        config.get("quantization") if isinstance(config.get("quantization"), Mapping) else config
    )
    name = str((inner or {}).get("quant_algo") or "").upper()
    if name not in (*ALGORITHMS, "", "MIXED_PRECISION"):
        raise UnsupportedError(
            f"weights quantized by ModelOpt as {name}",
            where=where,
            expected=" ".join(ALGORITHMS),
            do="open the unquantized model, or its GGUF",
        )


def read(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    if "weight_scale" not in layer:
        return None
    format = float_format(config.get("dtype"))
    found = _read(layer, format)
    if "pre_quant_scale" not in layer:
        return found

    def make() -> Values:  # the tool multiplies the layer's inputs instead
        return found.make() * layer.values("pre_quant_scale").reshape(1, -1)

    return Dequantised(found.shape, format, make)


def _read(layer: QuantizedLayer, format: str) -> Dequantised:
    weight = layer.part("weight")
    if (
        weight.format == "U8"
        and "weight_scale_2" in layer
        and layer.part("weight_scale").format == "F8_E4M3"
    ):
        return _nvfp4(layer, format)
    if weight.format == "U8":
        return _int4(layer, format)
    shape = weight.shape

    def make() -> Values:
        scales = rounded(layer.values("weight_scale"), format)  # the tool multiplies in this type
        return layer.values("weight") * spread_groups(scales, shape)

    return Dequantised(shape, format, make)


def _nvfp4(layer: QuantizedLayer, format: str) -> Dequantised:
    packed = layer.raw("weight")
    shape = (packed.shape[0], packed.shape[1] * 2)

    def make() -> Values:
        codes = E2M1[unpack_bits(as_bytes(packed), 4, shape[1])]
        scales = layer.values("weight_scale") * layer.values("weight_scale_2").reshape(-1)
        return codes * spread_groups(scales.astype(np.float32), shape)

    return Dequantised(shape, format, make)


def _int4(layer: QuantizedLayer, format: str) -> Dequantised:
    packed = layer.raw("weight")
    shape = (packed.shape[0] * 2, packed.shape[1])

    def make() -> Values:
        pairs = np.stack([packed & 15, packed >> 4], axis=1).reshape(shape).astype(np.int8)
        codes = np.where(pairs > 7, pairs - 16, pairs).astype(np.float32)
        return codes * spread_groups(layer.values("weight_scale"), shape)

    return Dequantised(shape, format, make)
