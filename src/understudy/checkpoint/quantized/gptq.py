"""GPTQ (AutoGPTQ, GPTQModel, AutoRound) and AWQ (AutoAWQ): columns of 2 to 8 bits in int32, zeros
packed likewise.

Sources: GPTQModel 7.7 `dequantize_weight`: (q - zero) * scale in the scale's type, group of a
column by `g_idx`, zeros stored one too small but in format "gptq_v2"; AutoAWQ 0.2.9
`dequantize_gemm`: eight columns of a word lie in the order 0 2 4 6 1 3 5 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.quantized.layers import (
    Dequantised,
    QuantizedLayer,
    Values,
    as_bytes,
    unpack_bits,
)
from understudy.errors import UnsupportedError

_AWQ_COLUMN = np.array([0, 4, 1, 5, 2, 6, 3, 7])  # where in a word column i of eight lies


def check_gptq(config: Mapping[str, Any], where: object) -> None:
    _check("GPTQ", config.get("checkpoint_format") or "gptq", ("gptq", "gptq_v2"), where)
    _check("GPTQ", config.get("bits", 4), (2, 3, 4, 8), where)


def check_awq(config: Mapping[str, Any], where: object) -> None:
    _check(
        "AWQ",
        str(config.get("version") or config.get("format") or "gemm").lower(),
        ("gemm",),
        where,
    )
    _check("AWQ", config.get("bits", config.get("w_bit", 4)), (4,), where)


def _check(method: str, found: object, known: tuple[object, ...], where: object) -> None:
    if found not in known:
        raise UnsupportedError(
            f"weights quantized by {method} as {found}",
            where=where,
            expected=" ".join(map(str, known)),
            do="open the unquantized model, or its GGUF",
        )


def read_gptq(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    if "qweight" not in layer:
        return None
    words, bits = layer.raw("qweight"), int(config.get("bits", 4))
    columns, rows = words.shape[0] * 32 // bits, words.shape[1]
    one = 0 if config.get("checkpoint_format") == "gptq_v2" else 1

    def make() -> Values:
        codes = unpack_bits(as_bytes(np.ascontiguousarray(words.T)), bits, columns)
        zeros = unpack_bits(as_bytes(layer.raw("qzeros")), bits, rows) + np.uint8(one)
        zeros &= np.uint8(2**bits - 1)
        group = _groups(layer, columns)
        scales = layer.values("scales")
        if scales.shape != zeros.shape or int(group.max(initial=0)) >= len(scales):
            raise layer.wrong(
                "groups do not fit the scales", expected=zeros.shape, found=scales.shape
            )
        return (codes.astype(np.float32) - zeros[group].T) * scales[group].T

    return Dequantised((rows, columns), layer.part("scales").format, make)


def _groups(layer: QuantizedLayer, columns: int) -> NDArray[np.int64]:
    if "g_idx" in layer:
        return layer.raw("g_idx").astype(np.int64)
    size = -(-columns // layer.shape("scales")[0])
    return np.arange(columns, dtype=np.int64) // size


def read_awq(layer: QuantizedLayer, config: Mapping[str, Any]) -> Dequantised | None:
    if "qweight" not in layer:
        return None
    words = layer.raw("qweight")
    columns, rows = words.shape[0], words.shape[1] * 8

    def make() -> Values:
        codes, zeros = (_awq_codes(layer.raw(part), rows) for part in ("qweight", "qzeros"))
        size = -(-columns // len(zeros))
        scales = layer.values("scales")
        if scales.shape != zeros.shape:
            raise layer.wrong(
                "groups do not fit the scales", expected=zeros.shape, found=scales.shape
            )
        zeros, scales = (np.repeat(part, size, 0)[:columns] for part in (zeros, scales))
        return ((codes - zeros) * scales).T

    return Dequantised((rows, columns), layer.part("scales").format, make)


def _awq_codes(words: NDArray[Any], count: int) -> Values:
    codes = unpack_bits(as_bytes(words), 4, count).reshape(len(words), -1, 8)
    return codes[..., _AWQ_COLUMN].reshape(len(words), count).astype(np.float32)
