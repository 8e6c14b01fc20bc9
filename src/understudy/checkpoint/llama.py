"""Llama and its sisters Mistral and Qwen2: RMSNorm, SiLU with a gate, rotation of whole heads.

Sources: transformers `models/{llama,mistral,qwen2}`, llama.cpp architectures "llama" (Mistral too) and "qwen2".
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.architecture import (
    HARMLESS_KEYS,
    Architecture,
    Config,
    common_sizes,
    shortest,
    sound,
)
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.errors import UnsupportedError
from understudy.spec import ModelSpec, RopeScaling


def spec_of(name: str, values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS)
    sizes = common_sizes(config)
    config.only("hidden_act", "silu", "swish")
    config.only("quantization_config")
    is_qwen = name == "qwen2"
    config.only("use_sliding_window", False)
    window = config.get("sliding_window")
    if window is not None and not is_qwen and window < sizes["max_positions"]:
        raise UnsupportedError(
            "sliding windows are not implemented", where=f"{where}: sliding_window", found=window
        )
    config.only("layer_types", ["full_attention"] * sizes["num_layers"])
    spec = ModelSpec(
        architecture=name,
        **sizes,
        norm="rms_norm",
        norm_eps=config.real("rms_norm_eps", "norm_eps", default=1e-6),
        activation="silu",
        gated=True,
        **read_rope(config, sizes["head_dim"], default_partial=1.0, default_theta=10000.0),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=is_qwen or config.flag("attention_bias", False),
        output_bias=config.flag("attention_bias", False) and not is_qwen,
        mlp_bias=config.flag("mlp_bias", False),
    )
    config.finish()
    return sound(spec, where)


def gguf_sizes(config: Config, arch: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Sizes of a GGUF file, and the choices that its tensors show: tied embeddings, biases."""
    hidden, heads = (
        config.whole(f"{arch}.embedding_length"),
        config.whole(f"{arch}.attention.head_count"),
    )
    return {
        "num_layers": config.whole(f"{arch}.block_count"),
        "hidden_size": hidden,
        "intermediate_size": config.whole(f"{arch}.feed_forward_length"),
        "num_heads": heads,
        "num_kv_heads": config.whole(f"{arch}.attention.head_count_kv", default=heads),
        "head_dim": config.whole(f"{arch}.attention.key_length", default=max(1, hidden // heads)),
        "vocab_size": shapes["token_embd.weight"][0]
        if "token_embd.weight" in shapes
        else config.whole(f"{arch}.vocab_size"),
        "max_positions": config.whole(f"{arch}.context_length"),
        "tied_embeddings": "output.weight" not in shapes,
        "qkv_bias": "blk.0.attn_q.bias" in shapes,
        "output_bias": "blk.0.attn_output.bias" in shapes,
        "mlp_bias": "blk.0.ffn_up.bias" in shapes,
    }


def spec_of_gguf(
    arch: str, metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    sizes = gguf_sizes(config, arch, shapes)
    config.only(f"{arch}.rope.scaling.type", "none")
    config.only(f"{arch}.expert_count", 0)
    window = config.get(f"{arch}.attention.sliding_window")
    if window is not None and window < sizes["max_positions"]:
        raise UnsupportedError("sliding windows are not implemented", where=where, found=window)
    return sound(
        ModelSpec(
            architecture=arch,
            **sizes,
            norm="rms_norm",
            norm_eps=shortest(config.real(f"{arch}.attention.layer_norm_rms_epsilon")),
            activation="silu",
            gated=True,
            rotary_dim=config.whole(f"{arch}.rope.dimension_count", default=sizes["head_dim"]),
            rope_theta=shortest(config.real(f"{arch}.rope.freq_base", default=10000.0)),
        ),
        where,
    )


def llama3_factors(spec: ModelSpec) -> NDArray[np.float32]:
    """What llama.cpp divides each rotary frequency by (its tensor rope_freqs.weight): (rotary_dim / 2,)."""
    scaling = spec.rope_scaling
    if scaling is None:
        return np.ones(spec.rotary_dim // 2, np.float32)
    frequencies = spec.rope_theta ** (-2.0 * np.arange(spec.rotary_dim // 2) / spec.rotary_dim)
    wavelengths = 2 * math.pi / frequencies
    low = scaling.original_max_positions / scaling.low_freq_factor
    high = scaling.original_max_positions / scaling.high_freq_factor
    smooth = (scaling.original_max_positions / wavelengths - scaling.low_freq_factor) / (
        scaling.high_freq_factor - scaling.low_freq_factor
    )
    blended = 1.0 / ((1 - smooth) / scaling.factor + smooth)
    factors = np.where(
        wavelengths < high, 1.0, np.where(wavelengths > low, scaling.factor, blended)
    )
    return factors.astype(np.float32)


def scaling_of_factors(
    factors: NDArray[np.float32], spec: ModelSpec, where: object, hint: object = None
) -> RopeScaling | None:
    """The inverse of `llama3_factors`: GGUF keeps only the tensor.

    Args:
        hint: factor, low, high and original length as our own writer notes them; believed only if it gives the factors.

    Raises:
        UnsupportedError: factors that no scaling of Llama 3's kind gives.
    """
    if np.allclose(factors, 1.0):
        return None
    candidates = [
        RopeScaling(f, 1.0, 4.0, n) for f in (8.0, 32.0, float(factors.max())) for n in (8192, 4096)
    ]
    if (
        isinstance(hint, list)
        and len(hint) == 4
        and all(isinstance(v, float) and 0 < v < 1e9 for v in hint)
    ):
        candidates.insert(0, RopeScaling(hint[0], hint[1], hint[2], int(hint[3])))
    for scaling in [*candidates, _fitted_scaling(factors, spec)]:
        if scaling is not None:
            found = llama3_factors(spec.replace(rope_scaling=scaling))
            if found.shape == factors.shape and np.allclose(found, factors, rtol=1e-4):
                return scaling
    raise UnsupportedError(
        "rotary factors follow no known scaling", where=where, found=f"up to {factors.max():g}"
    )


def _fitted_scaling(factors: NDArray[np.float32], spec: ModelSpec) -> RopeScaling | None:
    """Settings from the blended band, where 1 / factor is a line over 1 / wavelength; low is set to 1, for only ratios matter."""
    frequencies = spec.rope_theta ** (-2.0 * np.arange(spec.rotary_dim // 2) / spec.rotary_dim)
    top = float(factors.max())
    blended = (factors > 1.0001) & (factors < top * 0.9999)
    if factors.shape != frequencies.shape or blended.sum() < 2 or top <= 1:
        return None
    share = (1 / factors[blended].astype(np.float64) - 1 / top) / (
        1 - 1 / top
    )  # from 0 at `low` to 1 at `high`
    slope, offset = np.polyfit(frequencies[blended] / (2 * math.pi), share, 1)
    if not offset < 0 < slope:
        return None
    high = 1 - 1 / offset
    original = slope * (high - 1)
    return (
        RopeScaling(top, 1.0, float(high), round(float(original)))
        if 1 <= original < 1 << 31
        else None
    )


def config_of(spec: ModelSpec) -> dict[str, Any]:
    keys = {
        "num_hidden_layers": spec.num_layers,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.max_positions,
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_eps,
        "tie_word_embeddings": spec.tied_embeddings,
        **rope_config(spec),
    }
    if spec.architecture == "llama":
        keys |= {"attention_bias": spec.qkv_bias, "mlp_bias": spec.mlp_bias}
    if spec.architecture == "mistral":
        keys["sliding_window"] = None
    if spec.rotary_dim != spec.head_dim:
        keys["partial_rotary_factor"] = spec.rotary_dim / spec.head_dim
    return keys


def gguf_metadata(arch: str, spec: ModelSpec) -> dict[str, Any]:
    return {
        f"{arch}.context_length": spec.max_positions,
        f"{arch}.embedding_length": spec.hidden_size,
        f"{arch}.block_count": spec.num_layers,
        f"{arch}.feed_forward_length": spec.intermediate_size,
        f"{arch}.attention.head_count": spec.num_heads,
        f"{arch}.attention.head_count_kv": spec.num_kv_heads,
        f"{arch}.attention.key_length": spec.head_dim,
        f"{arch}.attention.value_length": spec.head_dim,
        f"{arch}.attention.layer_norm_rms_epsilon": float(spec.norm_eps),
        f"{arch}.rope.freq_base": float(spec.rope_theta),
        f"{arch}.rope.dimension_count": spec.rotary_dim,
        f"{arch}.vocab_size": spec.vocab_size,
    }


def _family(name: str, class_name: str, arch: str, permutes_rope: bool) -> Architecture:
    return Architecture(
        name,
        class_name,
        functools.partial(spec_of, name),
        functools.partial(spec_of_gguf, arch),
        config_of,
        functools.partial(gguf_metadata, arch),
        gguf_architecture=arch,
        permutes_rope=permutes_rope,
    )


LLAMA = _family("llama", "LlamaForCausalLM", "llama", permutes_rope=True)
MISTRAL = _family("mistral", "MistralForCausalLM", "llama", permutes_rope=True)
QWEN2 = _family("qwen2", "Qwen2ForCausalLM", "qwen2", permutes_rope=False)
