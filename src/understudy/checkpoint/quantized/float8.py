"""float8 weights of single scales: transformers' fine-grained FP8 (blocks), FBGEMM (rows), and
torchao's tensors.

Sources: transformers 5.24 `integrations/finegrained_fp8.py` (`weight_scale_inv`, float32
arithmetic), torchao 0.18 `Int8Tensor`, `Float8Tensor`, `IntxUnpackedToInt8Tensor` as
`save_pretrained` flattens them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.quantized.layers import (
    Dequantised,
    QuantizedLayer,
    Values,
    float_format,
    spread_groups,
)

_TORCHAO = "_weight_qdata"


def read_fp8(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    scale = next((s for s in ("weight_scale_inv", "weight_scale") if s in layer), None)
    if scale is None:
        return None
    shape, block = layer.shape("weight"), config.get("weight_block_size")
    blocks = tuple(block) if isinstance(block, list) and len(block) == 2 else None

    def make() -> Values:
        scales = layer.values(scale)
        return layer.values("weight") * spread_groups(
            scales, shape, blocks if scales.size > 1 else None
        )

    return Dequantised(shape, float_format(config.get("dtype")), make)


def read_torchao(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    if _TORCHAO not in layer:
        return None
    shape = layer.shape(_TORCHAO)

    def make() -> Values:
        codes = layer.values(_TORCHAO)
        if "_weight_zero_point" in layer:
            codes = codes - spread_groups(layer.values("_weight_zero_point"), shape)
        return codes * spread_groups(layer.values("_weight_scale"), shape)

    return Dequantised(shape, float_format(config.get("dtype")), make)
