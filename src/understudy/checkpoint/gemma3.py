"""Gemma 3, its text network: gated GELU, norms before and behind, q/k norms, windows in five of six
layers, which turn by a base of their own.

Sources: transformers 5.23 `models/gemma3` (`gemma3_text`), llama.cpp architecture "gemma3". Norm
gains are zero-centred in Hugging Face's files; a GGUF has 1 added.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.architecture import (
    Architecture,
    common_sizes,
    shortest,
    size_keys,
    sound,
)
from understudy.checkpoint.config import HARMLESS_KEYS, Config, is_object
from understudy.checkpoint.llama import gguf_metadata as plain_gguf_metadata
from understudy.checkpoint.llama import gguf_sizes
from understudy.checkpoint.naming import gguf_naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.checkpoint.windows import (
    KINDS,
    gguf_windows,
    read_layer_types,
    said_window,
)
from understudy.errors import FormatError, UnsupportedError
from understudy.spec import BlockSpec, ModelSpec

DEFAULTS = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 131072,
}
PATTERN = 6  # every sixth layer sees all
HEAD_DIM, WINDOW = 256, 4096  # where a config.json lacks the key
GLOBAL_THETA, LOCAL_THETA = 1_000_000.0, 10_000.0
_27B_LAYERS = 62  # the one size whose attention scale llama.cpp takes from hidden / heads


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    values, local_theta = _without_local(values, where)
    config = Config({"head_dim": HEAD_DIM} | values, where, HARMLESS_KEYS)
    sizes = common_sizes(config, DEFAULTS)
    config.only("hidden_activation", "gelu_pytorch_tanh")
    config.only("hidden_act", "gelu_pytorch_tanh")
    config.only("attn_logit_softcapping")
    config.only("final_logit_softcapping")
    config.only("use_bidirectional_attention", False)
    step = config.whole("sliding_window_pattern", "_sliding_window_pattern", default=PATTERN)
    num_layers = sizes["num_layers"]
    windows = read_layer_types(
        config,
        num_layers,
        [bool((layer + 1) % step) for layer in range(num_layers)],
        said_window(config, WINDOW),
    )
    has_bias = config.flag("attention_bias", False)
    spec = _spec(
        sizes,
        norm_eps=config.norm_eps("rms_norm_eps", 1e-6),
        **read_rope(config, sizes, None, default_theta=GLOBAL_THETA),
        tied_embeddings=config.flag("tie_word_embeddings", True),
        qkv_bias=has_bias,
        output_bias=has_bias,
        local_rope_theta=local_theta,
        blocks=_turned(windows),
        attention_scale=_attention_scale(
            config.positive("query_pre_attn_scalar", default=256.0), sizes["head_dim"]
        ),
    )
    config.pass_over("use_sliding_window", "max_window_layers")
    config.finish()
    return sound(spec, where)


def _without_local(values: Mapping[str, Any], where: object) -> tuple[dict[str, Any], float]:
    """The config with the rotary settings of its global layers alone, and the local base.

    `rope_parameters` has settings by the kind of layer, over which those of `rope_scaling` are laid
    for the global ones; without kinds transformers does not read them.
    """
    made = dict(values)
    blocks = {name: made.pop(name, None) or {} for name in ("rope_parameters", "rope_scaling")}
    nested = blocks["rope_parameters"]
    parts = [*blocks.values(), *(nested.get(kind) or {} for kind in KINDS if is_object(nested))]
    if not all(map(is_object, parts)):
        raise FormatError("rope_parameters and rope_scaling must be objects", where=where)
    if nested and not set(nested) & set(KINDS):
        Config({}, where).warn(
            f"rope_parameters without {' and '.join(KINDS)} are not read, as in transformers"
        )
    full = nested.get(KINDS[0]) or {"rope_type": "default"}
    made["rope_parameters"] = {**full, **blocks["rope_scaling"]}
    local = {"rope_theta": made.pop("rope_local_base_freq", None) or LOCAL_THETA}
    inner = Config(local | (nested.get(KINDS[1]) or {}), f"{where}: rope_parameters: {KINDS[1]}")
    inner.only("rope_type", "default")
    inner.only("type", "default")
    theta = inner.positive("rope_theta")
    inner.finish_with_warning()
    return made, theta


def _turned(windows: tuple[BlockSpec, ...]) -> tuple[BlockSpec, ...]:
    return tuple(
        BlockSpec(window=block.window, rotation="local" if block.window else "global")
        for block in windows
    )


def _attention_scale(scalar: float, head_dim: int) -> float:
    return 0.0 if scalar == head_dim else float(scalar**-0.5)


def _spec(sizes: Mapping[str, Any], **settings: Any) -> ModelSpec:
    return ModelSpec(
        architecture="gemma3_text",
        **(dict(sizes) | settings),
        norm="rms_norm_1p",
        activation="gelu_tanh",
        gated=True,
        qk_norm=True,
        post_norms=True,
        embedding_scale=math.sqrt(sizes["hidden_size"]),
    )


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    sizes = gguf_sizes(config, "gemma3", shapes)
    config.only("gemma3.final_logit_softcapping", 0)
    config.only("gemma3.attn_logit_softcapping", 0)
    config.only("gemma3.rope.scaling.attn_factor", 1)  # there it is of the windowed layers too
    blocks = _turned(gguf_windows(config, "gemma3", sizes["num_layers"], PATTERN))
    is_27b = sizes["num_layers"] == _27B_LAYERS
    scalar = sizes["hidden_size"] / sizes["num_heads"] if is_27b else sizes["head_dim"]
    spec = _spec(
        sizes,
        norm_eps=shortest(config.real("gemma3.attention.layer_norm_rms_epsilon")),
        rotary_dim=config.whole("gemma3.rope.dimension_count", default=sizes["head_dim"]),
        rope_theta=shortest(config.real("gemma3.rope.freq_base", default=10000.0)),
        local_rope_theta=shortest(config.real("gemma3.rope.freq_base_swa", default=LOCAL_THETA)),
        blocks=blocks,
        attention_scale=_attention_scale(scalar, sizes["head_dim"]),
    )
    return sound(spec, where)


def config_of(spec: ModelSpec) -> dict[str, Any]:
    windows = [spec.block(layer).window for layer in range(spec.num_layers)]
    return {
        **size_keys(spec),
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": spec.norm_eps,
        "query_pre_attn_scalar": round(spec.attention_scale**-2)
        if spec.attention_scale
        else spec.head_dim,
        "sliding_window": max(windows) or spec.max_positions,
        "layer_types": [KINDS[window > 0] for window in windows],
        "rope_local_base_freq": spec.local_rope_theta,
        "attention_bias": spec.qkv_bias,
        **rope_config(spec),
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where llama.cpp has no place for what the spec says."""
    is_27b = spec.num_layers == _27B_LAYERS
    scalar = spec.hidden_size / spec.num_heads if is_27b else spec.head_dim
    built_in = _attention_scale(scalar, spec.head_dim)
    if not math.isclose(spec.attention_scale, built_in, rel_tol=1e-6):
        raise UnsupportedError(
            "a GGUF of Gemma 3 has one attention scale",
            where="gemma3",
            expected=built_in or spec.head_dim**-0.5,
            found=spec.attention_scale or spec.head_dim**-0.5,
        )
    keys = plain_gguf_metadata("gemma3", spec, PATTERN)
    if any(block.window for block in spec.blocks):
        keys["gemma3.rope.freq_base_swa"] = float(spec.local_rope_theta)
    return keys


GEMMA3 = Architecture(
    "gemma3_text",
    "Gemma3ForCausalLM",
    spec_of,
    spec_of_gguf,
    config_of,
    gguf_metadata,
    gguf_architecture="gemma3",
    norm_offset=1.0,
    gguf_names=gguf_naming(
        post_attention_layernorm="post_attention_norm",
        pre_feedforward_layernorm="ffn_norm",
        post_feedforward_layernorm="post_ffw_norm",
    ),
)
