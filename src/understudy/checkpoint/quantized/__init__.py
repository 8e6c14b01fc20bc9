"""Folders quantized by other tools: recognised by their config, dequantised layer by layer when
they are read.

    weights = dequantised(quantization, config, tensors, folder)
    # Weights of floats under the usual names

What is dequantised equals the tool's own dequantisation value by value; what is not read is refused
by its name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from understudy.checkpoint.quantized import (
    bitsandbytes,
    compressed_tensors,
    float8,
    gptq,
    mlx,
    modelopt,
)
from understudy.checkpoint.quantized.layers import MISFIT, MISFITS, Dequantised, QuantizedLayer
from understudy.checkpoint.weights import Weights, announced
from understudy.errors import UnsupportedError
from understudy.formats.safetensors_folder import read_json
from understudy.formats.tensor import StoredTensor

Read = Callable[[QuantizedLayer, Mapping[str, Any]], Dequantised | None]


def _nothing(config: Mapping[str, Any], where: object) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Method:
    """One tool: its name for people, how a layer is read, and what is refused beforehand."""

    name: str
    read: Read
    check: Callable[[Mapping[str, Any], object], None] = _nothing


METHODS: dict[str, Method] = {
    "compressed-tensors": Method(
        "compressed-tensors", compressed_tensors.read, compressed_tensors.check
    ),
    "gptq": Method("GPTQ", gptq.read_gptq, gptq.check_gptq),
    "awq": Method("AWQ", gptq.read_awq, gptq.check_awq),
    "bitsandbytes": Method("bitsandbytes", bitsandbytes.read),
    "torchao": Method("torchao", float8.read_torchao),
    "fp8": Method("fine-grained FP8", float8.read_fp8),
    "fbgemm_fp8": Method("FBGEMM FP8", float8.read_fp8),
    "modelopt": Method("ModelOpt", modelopt.read, modelopt.check),
    "mlx": Method("MLX", mlx.read, mlx.check),
}
_OWN_FILES = {
    "hf_quant_config.json": "modelopt",
    "quantize_config.json": "gptq",  # AutoGPTQ before transformers knew it
    "quant_config.json": "awq",
}
FLOATS = ("F32", "F16", "BF16")
# Of inputs and of the cache, which are not quantized here; and what packing left over.
_IGNORED = (
    "input_scale",
    "input_zero_point",
    "input_global_scale",
    "output_scale",
    "k_scale",
    "v_scale",
    "q_scale",
    "weight_format",
    "input_scale_ub",
    "activation_scale",
)


def quantization_of(config: Mapping[str, Any], folder: Path) -> Mapping[str, Any] | None:
    """What a folder says of its quantization: in config.json, or in a file of the tool's own."""
    for key in ("quantization_config", "quantization"):
        if isinstance(found := config.get(key), Mapping) and found:
            return found
    for name, method in _OWN_FILES.items():
        if (folder / name).exists():
            return {"quant_method": method, **read_json(folder / name)}
    return None


def _method(quantization: Mapping[str, Any], where: object) -> Method:
    name = str(quantization.get("quant_method") or "").lower().replace("_", "-")
    if not name:
        is_modelopt = "quant_algo" in quantization or "producer" in quantization
        name = "modelopt" if is_modelopt else "mlx" if "group_size" in quantization else "unknown"
    if name in ("auto-round", "intel/auto-round"):
        packing = str(quantization.get("packing_format") or "auto_round:auto_gptq")
        name = "gptq" if "gptq" in packing else "awq" if "awq" in packing else name
    method = METHODS.get(name) or METHODS.get(name.replace("-", "_"))
    if method is None:
        raise UnsupportedError(
            f"weights quantized by {name}, which is not read",
            where=where,
            expected=" ".join(METHODS),
            do="open the unquantized model, or its GGUF",
        )
    method.check(quantization, where)
    return method


def dequantised(
    quantization: Mapping[str, Any],
    config: Mapping[str, Any],
    tensors: Mapping[str, StoredTensor],
    where: object,
) -> Weights:
    """The tensors of a quantized folder as floats; a layer is dequantised each time that it is
    asked for.

    Raises:
        UnsupportedError: a method, or a layout of it, that is not read.
        FormatError: parts that are missing or do not fit each other.
    """
    method = _method(quantization, f"{where}: quantization_config")
    settings = {"dtype": config.get("dtype") or config.get("torch_dtype"), **quantization}
    plain: dict[str, StoredTensor] = {}
    layers: dict[str, dict[str, StoredTensor]] = {}
    for name, tensor in tensors.items():
        owner, part = _owner(name)
        if (part in ("bias", "weight") and not _has_parts(owner, tensors)) or part == "bias":
            plain[name] = tensor
        elif part not in _IGNORED:
            layers.setdefault(owner, {})[part] = tensor
    if not layers and quantization.get("format") != "dense":
        raise UnsupportedError(
            f"the config says that {method.name} quantized the weights, but no layer is quantized",
            where=where,
            do="remove quantization_config if the weights are plain",
        )
    made = {
        f"{owner}.weight": _read(method, QuantizedLayer(owner, parts, str(where)), settings)
        for owner, parts in layers.items()
    }
    weights = Weights(plain | {n: announced(n, m.shape, m.format) for n, m in made.items()})
    for name, matrix in made.items():
        weights.change(name, functools.partial(_values, matrix, str(where)))
    return weights


def _values(matrix: Dequantised, where: str, tensor: StoredTensor) -> StoredTensor:
    return matrix.tensor(tensor.name, where)


def _owner(name: str) -> tuple[str, str]:
    """A tensor's layer and part: `a.q_proj.weight.absmax` -> `a.q_proj`, `weight.absmax`."""
    head, dot, tail = name.partition(".weight.")
    if dot:
        return head, f"weight.{tail}"
    owner, _, part = name.rpartition(".")
    return owner, part


def _has_parts(owner: str, tensors: Mapping[str, StoredTensor]) -> bool:
    """Whether a weight has scales beside it."""
    ends = ("weight_scale", "weight_scale_inv", "scales", "SCB", "weight.absmax")
    return any(f"{owner}.{end}" in tensors for end in ends)


def _read(method: Method, layer: QuantizedLayer, settings: Mapping[str, Any]) -> Dequantised:
    try:
        found = method.read(layer, settings)
    except MISFITS as error:
        raise layer.wrong(f"{MISFIT} ({error})", found=" ".join(sorted(layer.parts))) from error
    if found is None:
        raise UnsupportedError(
            f"a layer that {method.name} is not known to write",
            where=f"{layer.where}: {layer.name}",
            found=" ".join(sorted(layer.parts)),
            do="open the unquantized model, or its GGUF",
        )
    if found.format not in FLOATS:
        raise layer.wrong("scales are not floats", expected=" ".join(FLOATS), found=found.format)
    return found
