"""Folders of PEFT: `adapter_config.json` beside `adapter_model.safetensors` or `.bin`.

Source: peft 0.21, `LoraConfig`, `get_pattern_key`, `get_peft_model_state_dict`. What a
config may say and changes what is computed is obeyed, or refused by name; what steers only training
is passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.adapters.adapter import EMBEDDING, HEAD, Adapter, Pair
from understudy.atomic import written_aside
from understudy.errors import FormatError, MissingError, UnsupportedError
from understudy.formats.safetensors_folder import read_json, read_safetensors, write_safetensors
from understudy.formats.tensor import StoredTensor
from understudy.formats.torch_pickle import read_torch_file

CONFIG, WEIGHTS = "adapter_config.json", ("adapter_model.safetensors", "adapter_model.bin")
OWN = "understudy_adapter.json"  # lineage, which PEFT has no place for
_PREFIX = "base_model.model."
_NAME = re.compile(
    r"(?:base_model\.model\.)?(?P<matrix>.+)\."
    r"(?:lora_(?P<part>[AB])(?:\.\w+)?\.weight|lora_embedding_(?P<row>[AB])(?:\.\w+)?)"
)
# Settings that make an adapter more than B A, and what they are called.
_REFUSED = {
    "use_dora": "DoRA (magnitudes beside the low-rank matrices)",
    "lora_bias": "a bias beside B",
    "use_qalora": "QALoRA",
    "use_bdlora": "block-diagonal LoRA",
    "alora_invocation_tokens": "an activated LoRA, which begins at an invocation",
    "trainable_token_indices": "embeddings of single tokens trained beside LoRA",
    "target_parameters": "LoRA on parameters that are no linear layer",
    "layer_replication": "layers that are repeated",
    "arrow_config": "Arrow routing",
    "kasa_config": "KaSA",
    "monteclora_config": "MonteCLoRA",
    "megatron_config": "layers split by Megatron",
}
# Ways to begin that leave the model's own weights as they are.
_HARMLESS_INIT = (None, True, False, "gaussian", "eva", "orthogonal")


def read(folder: str | Path, name: str | None = None) -> Adapter:
    """Reads a folder.

    Raises:
        MissingError: no config, no weights, or one matrix of a pair.
        FormatError: damaged, or ranks that contradict the config.
        UnsupportedError: not LoRA, or LoRA with something beside it, named.
    """
    folder = Path(folder)
    config = read_json(folder / CONFIG)
    _refuse_others(config, folder / CONFIG)
    pairs = _pairs(_tensors(folder), folder)
    if not pairs:
        raise MissingError("no matrices of LoRA", where=folder)
    own = read_json(folder / OWN) if (folder / OWN).exists() else {}
    base = config.get("base_model_name_or_path")
    adapter = Adapter(
        name or folder.name,
        _number(config, "r", 8, folder),
        _number(config, "lora_alpha", 8, folder),
        bool(config.get("use_rslora")),
        pairs,
        _alphas(config, pairs, folder),
        own | ({"base": base} if isinstance(base, str) and base else {}),
    )
    _check_ranks(config, adapter, folder)
    return adapter


def write(
    adapter: Adapter, folder: str | Path, base: str | None = None, *, format: str = "F32"
) -> None:
    """Writes a folder aside and renames it: safetensors, a config that PEFT opens.

    Args:
        base: name or path of the model, for `base_model_name_or_path`.
        format: of the values: F32, or F16 or BF16, which round them.
    """
    folder = Path(folder)
    tensors = [
        StoredTensor.of(_stored_name(matrix, part), values).to_format(format)
        for matrix, pair in adapter.tensors.items()
        for part, values in zip("AB", pair, strict=True)
    ]
    with written_aside(folder) as aside:
        aside.mkdir()
        text = json.dumps(_config(adapter, base), indent=2)
        (aside / CONFIG).write_text(text + "\n", encoding="utf-8")
        own = {key: value for key, value in adapter.metadata.items() if key != "base"}
        if own:
            (aside / OWN).write_text(json.dumps(own, indent=2) + "\n", encoding="utf-8")
        shapes = {tensor.name: (tensor.shape, tensor.format) for tensor in tensors}
        write_safetensors(aside / WEIGHTS[0], tensors, shapes)


# ---- reading ----


def _refuse_others(config: Mapping[str, Any], where: Path) -> None:
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        raise UnsupportedError("kind of adapter is not implemented", where=where, found=kind)
    for key, what in _REFUSED.items():
        if config.get(key):
            raise UnsupportedError(f"{what}: not implemented", where=f"{where}: {key}")
    begins = config.get("init_lora_weights")
    if begins not in _HARMLESS_INIT:
        raise UnsupportedError(
            "such a beginning changes the model's own weights",
            where=f"{where}: init_lora_weights",
            found=begins,
            do="save it with PEFT's `path_initial_model_for_weight_conversion`",
        )


def _tensors(folder: Path) -> dict[str, StoredTensor]:
    for file, read_file in zip(WEIGHTS, (read_safetensors, read_torch_file), strict=True):
        if (folder / file).exists():
            return read_file(folder / file)
    raise MissingError("no weights", where=folder, expected=" or ".join(WEIGHTS))


def _pairs(tensors: Mapping[str, StoredTensor], folder: Path) -> dict[str, Pair]:
    halves: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, tensor in tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            _refuse_tensor(name, folder)
            continue
        if len(tensor.shape) != 2:
            raise FormatError("not a matrix", where=f"{folder}: {name}", found=tensor.shape)
        part = match["part"] or match["row"]
        halves.setdefault(canonical(match["matrix"]), {})[part] = tensor.to_float32()
    for matrix, found in halves.items():
        if len(found) != 2:
            absent = "B" if "A" in found else "A"
            raise MissingError(f"{matrix} has no lora_{absent}", where=folder)
    return {matrix: (found["A"], found["B"]) for matrix, found in halves.items()}


def canonical(module: str) -> str:
    """`model.layers.0.self_attn.q_proj` of any spelling: a prefix of wrappers is left out."""
    if module.endswith((HEAD, EMBEDDING)):
        return HEAD if module.endswith(HEAD) else EMBEDDING
    at = module.find("layers.")
    return f"model.{module[at:]}" if at >= 0 else module


def _refuse_tensor(name: str, folder: Path) -> None:
    """A tensor that is no half of a pair: a copy of the model's own is passed over."""
    if name.endswith(".base_layer.weight"):
        return
    what = "a trained bias" if name.endswith(".bias") else "a matrix trained whole"
    if ".lora_magnitude_vector" in name:
        what = "DoRA"
    elif "trainable_tokens" in name:
        what = "embeddings of single tokens"
    raise UnsupportedError(
        f"{what} beside LoRA: not implemented",
        where=f"{folder}: {name}",
        do="merge the adapter into its model with PEFT, and open the result",
    )


def _number(config: Mapping[str, Any], key: str, default: int, folder: Path) -> Any:
    value = config.get(key, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and value > 0
    if not is_number or (key == "r" and not isinstance(value, int)):
        kind = "a positive whole number" if key == "r" else "a positive number"
        raise FormatError(f"not {kind}", where=f"{folder / CONFIG}: {key}", found=value)
    return value


def _pattern(config: Mapping[str, Any], key: str, matrix: str, default: Any, folder: Path) -> Any:
    """What a pattern gives a module, looked up as PEFT does: the first that matches its end."""
    patterns = config.get(key) or {}
    if not isinstance(patterns, Mapping):
        raise FormatError("not a mapping", where=f"{folder / CONFIG}: {key}", found=patterns)
    for pattern in patterns:
        try:
            if re.match(rf"(.*\.)?({pattern})$", matrix):
                return _number(patterns, pattern, 1, folder)
        except re.error as error:
            raise FormatError(
                f"not a pattern ({error})", where=f"{folder / CONFIG}: {key}", found=pattern
            ) from error
    return default


def _alphas(config: Mapping[str, Any], pairs: Mapping[str, Pair], folder: Path) -> dict[str, float]:
    alphas = {m: _pattern(config, "alpha_pattern", m, None, folder) for m in pairs}
    return {matrix: float(alpha) for matrix, alpha in alphas.items() if alpha is not None}


def _check_ranks(config: Mapping[str, Any], adapter: Adapter, folder: Path) -> None:
    for matrix, (a, _) in adapter.tensors.items():
        rank = _pattern(config, "rank_pattern", matrix, adapter.rank, folder)
        if a.shape[0] != rank:
            raise FormatError(
                "the config says another rank than the weights have",
                where=f"{folder}: {matrix}",
                expected=rank,
                found=a.shape[0],
            )


# ---- writing ----


def _stored_name(matrix: str, part: str) -> str:
    if matrix == EMBEDDING:
        return f"{_PREFIX}{matrix}.lora_embedding_{part}"
    return f"{_PREFIX}{matrix}.lora_{part}.weight"


def _config(adapter: Adapter, base: str | None) -> dict[str, Any]:
    ranks = {matrix: a.shape[0] for matrix, (a, _) in adapter.tensors.items()}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base or adapter.metadata.get("base"),
        "r": adapter.rank,
        "lora_alpha": int(adapter.alpha) if adapter.alpha == int(adapter.alpha) else adapter.alpha,
        "use_rslora": adapter.rslora,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        # Whole names, so that layers without an adapter stay without one.
        "target_modules": sorted(adapter.tensors),
        "rank_pattern": {
            re.escape(matrix): rank for matrix, rank in ranks.items() if rank != adapter.rank
        },
        "alpha_pattern": {re.escape(matrix): alpha for matrix, alpha in adapter.alphas.items()},
    }
