"""The config and the weights of a Hugging Face folder, those of its text network alone, quantized
ones as floats; adapters are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from understudy.checkpoint.adapter import refuse_adapter
from understudy.checkpoint.multimodal import keep_text, text_config
from understudy.checkpoint.quantized import dequantised, quantization_of
from understudy.checkpoint.weights import Weights
from understudy.formats.safetensors_folder import read_folder_tensors, read_json

IGNORED_SUFFIXES = ("rotary_emb.inv_freq", "._extra_state", "attn_rot_embd.weight")


def read_config(folder: Path) -> dict[str, Any]:
    """config.json, or what it holds of the text network.

    Raises:
        UnsupportedError: the folder is an adapter's.
    """
    refuse_adapter(folder)
    return text_config(read_json(folder / "config.json"))


def without_quantization(config: dict[str, Any]) -> dict[str, Any]:
    """The keys that say what the network is."""
    return {key: value for key, value in config.items() if not key.startswith("quantization")}


def read_weights(folder: Path, config: dict[str, Any]) -> Weights:
    """The tensors of the network under Hugging Face's names."""
    tensors = read_folder_tensors(folder)
    tensors = {n: t for n, t in tensors.items() if not n.endswith(IGNORED_SUFFIXES)}
    if not any(
        name.startswith(("model.", "backbone.", "language_model.")) for name in tensors
    ):  # saved without its head
        tensors = {n if n.startswith("lm_head.") else f"model.{n}": t for n, t in tensors.items()}
    quantization = quantization_of(config, folder)
    weights = (
        Weights(tensors)
        if quantization is None
        else dequantised(quantization, config, tensors, folder)
    )
    keep_text(weights, folder)
    return weights
