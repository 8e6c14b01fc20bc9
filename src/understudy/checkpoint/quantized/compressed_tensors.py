"""compressed-tensors (llm-compressor, vLLM): whole numbers packed into int32, int8, float8, and
NVFP4.

Source: compressed-tensors 0.20, `compressors/*/base.py` and
`quantization/lifecycle/forward_helpers.py`: values are (q - zero) * scale in the type of the scale.
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
    spread_groups,
    unpack_bits,
)
from understudy.errors import UnsupportedError

FORMATS = (
    "pack-quantized",
    "int-quantized",
    "naive-quantized",
    "float-quantized",
    "nvfp4-pack-quantized",
    "dense",
    "mixed-precision",
)


def check(config: Mapping[str, Any], where: object) -> None:
    """Refuses what is more than scales and zeros: sparsity, transforms, other formats."""
    groups = [g for g in (config.get("config_groups") or {}).values() if isinstance(g, Mapping)]
    named = [config.get("format"), *(group.get("format") for group in groups)]
    strange = [name for name in named if name is not None and name not in FORMATS]
    if sparsity := (config.get("sparsity_config") or {}).get("format", "dense"):
        strange += [sparsity] if sparsity != "dense" else []
    if config.get("transform_config"):
        strange.append("transform_config")
    if strange:
        raise UnsupportedError(
            f"weights quantized by compressed-tensors as {strange[0]}",
            where=where,
            expected=" ".join(FORMATS),
            do="open the unquantized model, or its GGUF",
        )


def read(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    if "weight_packed" in layer and "weight_global_scale" in layer:
        return _nvfp4(layer)
    if "weight_packed" in layer:
        return _packed(layer)
    if "weight" in layer and "weight_scale" in layer:
        return _plain(layer, _block(config))
    return None


def _block(config: Mapping[str, Any]) -> tuple[int, int] | None:
    for group in (config.get("config_groups") or {}).values():
        block = (group.get("weights") or {}).get("block_structure")
        if isinstance(block, list) and len(block) == 2:
            return int(block[0]), int(block[1])
    return None


def _packed(layer: QuantizedLayer) -> Dequantised:
    rows, columns = (int(n) for n in layer.raw("weight_shape").reshape(-1))
    words = layer.raw("weight_packed")
    bits = words.shape[1] * 32 // columns
    if not 1 <= bits <= 8 or words.shape[0] != rows:
        raise layer.wrong(
            "packed weights do not fit their shape", found=f"{words.shape} for {(rows, columns)}"
        )
    scale = layer.part("weight_scale")

    def make() -> Values:
        codes = unpack_bits(as_bytes(words), bits, columns).astype(np.float32) - 2 ** (bits - 1)
        scales = layer.values("weight_scale")
        if "weight_g_idx" in layer and (order := layer.raw("weight_g_idx")).min(initial=-1) >= 0:
            scales = scales[:, order.astype(np.int64)]
        if "weight_zero_point" in layer:
            packed = np.ascontiguousarray(layer.raw("weight_zero_point").T)
            zeros = unpack_bits(as_bytes(packed), bits, rows).T.astype(np.float32) - 2 ** (bits - 1)
            codes -= spread_groups(zeros, codes.shape)
        values: Values = codes * spread_groups(scales, codes.shape)
        return values

    return Dequantised((rows, columns), scale.format, make)


def _plain(layer: QuantizedLayer, block: tuple[int, int] | None) -> Dequantised:
    shape = layer.shape("weight")

    def make() -> Values:
        codes = layer.values("weight")
        if "weight_zero_point" in layer:
            codes = codes - spread_groups(layer.values("weight_zero_point"), shape)
        scales = layer.values("weight_scale")
        is_blocks = scales.ndim == 2 and scales.shape[0] not in (1, shape[0])
        return codes * spread_groups(scales, shape, block if is_blocks else None)

    return Dequantised(shape, layer.part("weight_scale").format, make)


def _nvfp4(layer: QuantizedLayer) -> Dequantised:
    packed = layer.raw("weight_packed")
    shape = (packed.shape[0], packed.shape[1] * 2)

    def make() -> Values:
        codes = E2M1[unpack_bits(as_bytes(packed), 4, shape[1])]
        scales = layer.values("weight_scale") / layer.values("weight_global_scale").reshape(-1)
        return codes * spread_groups(scales.astype(np.float32), shape)

    return Dequantised(shape, "BF16", make)
