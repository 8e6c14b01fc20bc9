"""MLX (mlx-lm): affine groups, w = scale * q + bias, q of 2 to 8 bits in uint32, the lowest first.

Source: MLX 0.32 `mx.dequantize`, which rounds the product to the scale's type and then the sum;
`config.json` names `group_size` and `bits` under `quantization`, for single layers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.quantized.layers import (
    Dequantised,
    QuantizedLayer,
    Values,
    as_bytes,
    rounded,
    spread_groups,
    unpack_bits,
)
from understudy.errors import UnsupportedError


def check(config: Mapping[str, Any], where: object) -> None:
    modes = [
        config.get("mode"),
        *(v.get("mode") for v in config.values() if isinstance(v, Mapping)),
    ]
    if strange := [mode for mode in modes if mode not in (None, "affine")]:
        raise UnsupportedError(
            f"weights quantized by MLX as {strange[0]}",
            where=where,
            expected="affine",
            do="open the unquantized model, or its GGUF",
        )


def read(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    if "scales" not in layer:
        return None
    own = config.get(layer.name)
    settings = own if isinstance(own, Mapping) else config
    words, size = layer.raw("weight"), int(settings.get("group_size", 64))
    rows, groups = layer.shape("scales")
    columns = groups * size
    bits = words.shape[1] * 32 // columns
    if words.shape[0] != rows or not 2 <= bits <= 8:
        raise layer.wrong(
            "packed weights do not fit their scales", found=f"{words.shape} and {(rows, groups)}"
        )

    def make() -> Values:
        codes = unpack_bits(as_bytes(words), bits, columns).astype("float32")
        scales, biases = (spread_groups(layer.values(p), codes.shape) for p in ("scales", "biases"))
        return rounded(codes * scales, layer.part("scales").format) + biases

    return Dequantised((rows, columns), layer.part("scales").format, make)
