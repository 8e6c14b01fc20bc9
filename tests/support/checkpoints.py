"""Small made-up checkpoints of every shape class: specs, random weights, and Hugging Face folders
of them.

    spec = SPECS["nemotron"]
    weights = random_weights(spec, seed=1)
    folder = write_folder(spec, weights, tmp_path / "model", dtype="bfloat16")

Norm gains and all biases are random, so that a missing `+ 1`, a swapped pair of norms or a dropped
bias shows.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.rotary import Llama3Scaling
from understudy.spec import ModelSpec, has_centred_gain, tensor_shapes

Weights = dict[str, NDArray[np.float32]]

_NEMOTRON = ModelSpec(
    architecture="nemotron",
    num_layers=3,
    hidden_size=96,
    intermediate_size=288,
    num_heads=6,
    num_kv_heads=2,
    head_dim=32,
    vocab_size=512,
    max_positions=512,
    norm="layer_norm_1p",
    norm_eps=1e-5,
    activation="relu2",
    gated=False,
    rotary_dim=16,
    rope_theta=1e4,
)
_LLAMA = ModelSpec(
    architecture="llama",
    num_layers=3,
    hidden_size=96,
    intermediate_size=256,
    num_heads=8,
    num_kv_heads=2,
    head_dim=16,
    vocab_size=512,
    max_positions=512,
    norm="rms_norm",
    norm_eps=1e-5,
    activation="silu",
    gated=True,
    rotary_dim=16,
    rope_theta=5e5,
)

# One entry per shape class; the key says what is special about it.
SPECS: dict[str, ModelSpec] = {
    "nemotron": _NEMOTRON,  # query heads 3:1 as in the 4B, head_dim ≠ hidden / heads
    "nemotron_8b": _NEMOTRON.replace(
        num_heads=12, hidden_size=128, head_dim=16, rotary_dim=8
    ),  # 6:1, heads·dim > hidden
    "nemotron_odd": _NEMOTRON.replace(
        hidden_size=72,
        intermediate_size=172,
        vocab_size=517,
        head_dim=20,
        rotary_dim=10,
        num_heads=3,
        num_kv_heads=1,
    ),  # nothing is a multiple of a vector
    "nemotron_biases": _NEMOTRON.replace(
        qkv_bias=True, output_bias=True, mlp_bias=True, tied_embeddings=True
    ),
    "llama": _LLAMA,
    "llama3": _LLAMA.replace(
        rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 64)
    ),  # all three bands occur: λ from 6 to 2e6
    "llama_tied": _LLAMA.replace(
        hidden_size=72,
        intermediate_size=172,
        num_heads=9,
        num_kv_heads=3,
        head_dim=8,
        rotary_dim=8,
        vocab_size=517,
        rope_theta=1e5,
        tied_embeddings=True,
    ),  # SmolLM2's 9/3 heads, odd sizes
    "mistral": _LLAMA.replace(
        architecture="mistral", rope_theta=1e6, head_dim=32, rotary_dim=32, num_heads=4
    ),
    "qwen2": _LLAMA.replace(
        architecture="qwen2",
        num_heads=14,
        head_dim=8,
        rotary_dim=8,
        hidden_size=112,
        qkv_bias=True,
        tied_embeddings=True,
        norm_eps=1e-6,
        rope_theta=1e6,
    ),  # 7:1, biases on q, k and v alone
}


def random_weights(spec: ModelSpec, seed: int = 0, head_scale: float = 1.0) -> Weights:
    """float32 weights whose activations stay around 1 in every layer.

    Norm gains spread around their neutral value, biases around zero; matrices have variance 1 /
    columns, the embedding 1. `head_scale` multiplies the logits of an untied head.
    """
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    for name, shape in tensor_shapes(spec).items():
        values = rng.standard_normal(shape, dtype=np.float32)
        if len(shape) == 1:
            values *= 0.2
            is_gain = name.endswith("norm.weight") and spec.norm.startswith("rms_norm")
            if is_gain and not has_centred_gain(spec, name):
                values += 1
        elif "embed_tokens" not in name or spec.tied_embeddings:
            values /= np.float32(np.sqrt(shape[1]))
        if name == "lm_head.weight":
            values *= np.float32(head_scale)
        weights[name] = values
    return weights


def random_tokens(spec: ModelSpec, length: int, seed: int = 0) -> NDArray[np.int32]:
    """(length,) ids from the whole vocabulary."""
    return np.random.default_rng(seed).integers(0, spec.vocab_size, length).astype(np.int32)


def round_to_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest bfloat16 (ties to even), as float32. Finite values only."""
    return (_bfloat16_bits(values).astype(np.uint32) << 16).view(np.float32)


def _bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def config_of(spec: ModelSpec, *, style: str = "transformers4", **changes: Any) -> dict[str, Any]:
    """The `config.json` of a spec.

    `style` is the spelling: `"transformers4"` (rope_theta at the top, `head_dim`),
    `"transformers5"` (nested `rope_parameters`), or `"megatron"` (what NVIDIA's conversions hold:
    `kv_channels`, `rope_percent`, no `head_dim`).
    """
    classes = {"nemotron": "Nemotron", "llama": "Llama", "mistral": "Mistral", "qwen2": "Qwen2"}
    eps_key = "norm_eps" if spec.architecture == "nemotron" else "rms_norm_eps"
    config: dict[str, Any] = {
        "architectures": [f"{classes[spec.architecture]}ForCausalLM"],
        "model_type": spec.architecture,
        "bos_token_id": 2 if spec.architecture == "nemotron" else 1,
        "eos_token_id": 3 if spec.architecture == "nemotron" else 2,
        "hidden_act": spec.activation,
        "hidden_size": spec.hidden_size,
        "initializer_range": 0.0134,
        "intermediate_size": spec.intermediate_size,
        "max_position_embeddings": spec.max_positions,
        "num_attention_heads": spec.num_heads,
        "num_hidden_layers": spec.num_layers,
        "num_key_value_heads": spec.num_kv_heads,
        eps_key: spec.norm_eps,
        "tie_word_embeddings": spec.tied_embeddings,
        "torch_dtype": "float32",
        "use_cache": True,
        "vocab_size": spec.vocab_size,
    }
    config |= _bias_keys(spec) | _rope_keys(spec, style)
    config["kv_channels" if style == "megatron" else "head_dim"] = spec.head_dim
    return config | changes


def _bias_keys(spec: ModelSpec) -> dict[str, Any]:
    match spec.architecture:
        case "qwen2":
            return {"use_sliding_window": False}
        case "mistral":
            return {"sliding_window": None}
        case _:
            return {"attention_bias": spec.qkv_bias, "mlp_bias": spec.mlp_bias}


def _rope_keys(spec: ModelSpec, style: str) -> dict[str, Any]:
    theta, fraction = spec.rope_theta, spec.rotary_dim / spec.head_dim
    scaling: dict[str, Any] = {}
    if spec.rope_scaling is not None:
        scaling = {
            "rope_type": "llama3",
            "factor": spec.rope_scaling.factor,
            "low_freq_factor": spec.rope_scaling.low_freq_factor,
            "high_freq_factor": spec.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": spec.rope_scaling.original_max_positions,
        }
    partial = {} if fraction == 1 else {"partial_rotary_factor": fraction}
    if style == "transformers5":
        return {
            "rope_parameters": {"rope_type": "default", "rope_theta": theta} | scaling | partial
        }
    if style == "megatron":
        partial = {} if fraction == 1 else {"rope_percent": fraction}
    return {"rope_theta": theta} | partial | ({"rope_scaling": scaling} if scaling else {})


def write_folder(
    spec: ModelSpec,
    weights: Mapping[str, NDArray[np.float32]],
    path: Path,
    dtype: str = "float32",
    *,
    style: str = "transformers4",
    num_shards: int = 1,
    config: Mapping[str, Any] | None = None,
) -> Path:
    """A Hugging Face folder of a made-up model: `config.json` and safetensors, sharded if asked. No
    tokenizer.

    `dtype` is `"float32"`, `"float16"` or `"bfloat16"` (rounded to the nearest); `config` adds to
    or overrides keys.
    """
    path.mkdir(parents=True, exist_ok=True)
    keys = config_of(spec, style=style, torch_dtype=dtype) | dict(config or {})
    (path / "config.json").write_text(json.dumps(keys, indent=2))
    names = sorted(weights)
    shards = [names[start::num_shards] for start in range(num_shards)]
    index: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = (
            "model.safetensors"
            if num_shards == 1
            else f"model-{number:05}-of-{num_shards:05}.safetensors"
        )
        write_safetensors({name: weights[name] for name in shard}, path / file, dtype)
        index |= dict.fromkeys(shard, file)
    if num_shards > 1:
        text = json.dumps(
            {
                "metadata": {"total_size": sum(w.nbytes for w in weights.values())},
                "weight_map": index,
            }
        )
        (path / "model.safetensors.index.json").write_text(text)
    return path


def write_safetensors(
    weights: Mapping[str, NDArray[np.float32]], path: Path, dtype: str = "float32"
) -> None:
    """One safetensors file, byte by byte: header length (8, little endian), JSON header, data.
    NumPy lacks bfloat16.
    """
    code = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    chunks, end = [], 0
    for name, values in weights.items():
        stored = (
            _bfloat16_bits(values) if dtype == "bfloat16" else np.ascontiguousarray(values, dtype)
        )
        chunks.append(stored.tobytes())
        header[name] = {
            "dtype": code,
            "shape": list(values.shape),
            "data_offsets": [end, end + len(chunks[-1])],
        }
        end += len(chunks[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))
