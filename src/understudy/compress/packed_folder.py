"""A Hugging Face folder with 4- and 8-bit linears as vLLM and transformers read them:
compressed-tensors, pack-quantized.

Per linear: `weight_packed` int32, the integers shifted to unsigned and packed along the columns,
lowest bits first (8 a word at 4 bits, 4 at 8); `weight_scale` (rows, columns / 32) float16;
`weight_shape` int64. The layout is that of the package compressed-tensors
(`compressors/pack_quantized`), which the test reads it with. Embedding, head and norms stay
float16: the format has no place for a quantized embedding.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from understudy.checkpoint.checkpoint import Checkpoint
from understudy.compress.folder import save_network
from understudy.compress.grid import BLOCK, QuantizedMatrix
from understudy.compress.grids import GRIDS
from understudy.compress.network import Network, network_from_weights
from understudy.compress.quantize import Quantized
from understudy.errors import UnsupportedError
from understudy.spec import ModelSpec


def save_packed(result: Quantized, like: Checkpoint, folder: Path) -> Path:
    """Write the folder: tokenizer and config as `save_network` gives them, the weights packed,
    nothing rounded again.

    Raises:
        UnsupportedError: linears of both grids would need two groups with the same targets; q3 has
        no place there.
    """
    linears = {
        n: t
        for n, t in result.tensors.items()
        if n.startswith("model.layers.") and isinstance(t, QuantizedMatrix)
    }
    grids = {t.grid.name for t in linears.values()}
    if len(grids) > 1:
        raise UnsupportedError(
            "linears of two grids in one folder",
            found=sorted(grids),
            do="leave out `promoted` linears",
        )
    if "q3" in grids:
        raise UnsupportedError(
            "compressed-tensors has no place for q3",
            where=folder,
            expected="q4 or q8",
            do="leave out `packed`, or choose q4",
        )
    save_network(
        result.network, like, folder, "bf16"
    )  # tokenizer, config.json; its weights are replaced below
    state: dict[str, Tensor] = {}
    for name, value in result.network.state_dict().items():
        if name in linears:
            stem, rounded = name.removesuffix(".weight"), linears[name]
            state[f"{stem}.weight_packed"] = pack(rounded)
            state[f"{stem}.weight_scale"] = rounded.scales.to(torch.float16)
            state[f"{stem}.weight_shape"] = torch.tensor(rounded.integers.shape)
        else:
            state[name] = value.to(torch.float16).contiguous()
    aside = folder / "model.safetensors.tmp"
    save_file(state, aside, metadata={"format": "pt"})
    aside.rename(folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= {"torch_dtype": "float16", "quantization_config": quantization_config(grids.pop())}
    config.pop("dtype", None)
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    return folder


def pack(rounded: QuantizedMatrix) -> Tensor:
    """(rows, columns) integers -> (rows, columns · bits / 32) int32."""
    bits = 4 if rounded.grid.name == "q4" else 8
    unsigned = (rounded.integers.cpu().numpy().astype(np.int16) + (1 << (bits - 1))).astype(
        np.uint32
    )
    words = unsigned.reshape(len(unsigned), -1, 32 // bits)
    shifts = np.arange(32 // bits, dtype=np.uint32) * np.uint32(bits)
    return torch.from_numpy(np.bitwise_or.reduce(words << shifts, axis=-1).view(np.int32))


def unpack(words: Tensor, bits: int) -> Tensor:
    """(rows, columns · bits / 32) int32 -> (rows, columns) integers."""
    shifts = np.arange(32 // bits, dtype=np.uint32) * np.uint32(bits)
    unsigned = (words.numpy().view(np.uint32)[..., None] >> shifts) & np.uint32((1 << bits) - 1)
    return torch.from_numpy(
        unsigned.reshape(len(unsigned), -1).astype(np.int16) - (1 << (bits - 1))
    ).to(torch.int8)


def open_packed(folder: Path, spec: ModelSpec) -> Network:
    """The network that such a folder holds, from its own bytes: to measure what was written."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    bits = config["config_groups"]["group_0"]["weights"]["num_bits"]
    grid = GRIDS[f"q{bits}"]
    state = load_file(folder / "model.safetensors")
    weights: dict[str, Tensor] = {}
    for name, value in state.items():
        stem, _, part = name.rpartition(".")
        if part == "weight_packed":
            rounded = QuantizedMatrix(
                grid, unpack(value, bits), state[f"{stem}.weight_scale"].float()
            )
            weights[f"{stem}.weight"] = rounded.values()
        elif not part.startswith("weight_"):
            weights[name] = value.float()
    return network_from_weights(spec, weights).requires_grad_(False)


def quantization_config(grid: str) -> dict[str, Any]:
    bits = 4 if GRIDS[grid].name == "q4" else 8
    weights = {
        "num_bits": bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": BLOCK,
        "dynamic": False,
    }
    group = {
        "targets": ["Linear"],
        "weights": weights,
        "input_activations": None,
        "output_activations": None,
    }
    return {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
        "kv_cache_scheme": None,
    }
