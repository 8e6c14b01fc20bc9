"""Families that are a Llama with one or two options: Qwen3, SmolLM3, dense Granite, Phi-3/4-mini.

Sources: transformers 5.23 `models/{qwen3,smollm3,granite,phi3}`, llama.cpp architectures of the
same names (`smollm3`, `granite`, `phi3`, `qwen3`; gguf 0.19).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.architecture import (
    Architecture,
    common_sizes,
    shortest,
    size_keys,
    sound,
)
from understudy.checkpoint.config import HARMLESS_KEYS, Config
from understudy.checkpoint.llama import gguf_metadata as plain_gguf_metadata
from understudy.checkpoint.llama import gguf_sizes
from understudy.checkpoint.multipliers import (
    gguf_multipliers,
    multiplier_config,
    multiplier_metadata,
    read_multipliers,
)
from understudy.checkpoint.naming import FOLDER_NAMES, GGUF_NAMES, Naming, gguf_naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.checkpoint.windows import (
    every_layer,
    gguf_windows,
    is_plain,
    layer_types,
    plain_window_config,
    reached,
    read_layer_types,
    said_window,
)
from understudy.errors import UnsupportedError
from understudy.spec import BlockSpec, ModelSpec

# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS: dict[str, dict[str, Any]] = {
    "qwen3": {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "head_dim": 128,
    },
    "smollm3": {
        "vocab_size": 128256,
        "hidden_size": 2048,
        "intermediate_size": 11008,
        "num_hidden_layers": 36,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "max_position_embeddings": 32768,
        "rope_theta": 2000000.0,
        "tie_word_embeddings": True,
    },
    "granite": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
    },
    "phi3": {
        "vocab_size": 32064,
        "hidden_size": 3072,
        "intermediate_size": 8192,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
        "original_max_position_embeddings": 4096,
        "rms_norm_eps": 1e-5,
    },
}
NO_ROTATION_STEP = 4  # llama.cpp turns all but every fourth layer of a SmolLM3


def spec_of(name: str, values: Mapping[str, Any], where: object) -> ModelSpec:
    defaults = DEFAULTS[name]
    config = Config(_prepared(name, values, defaults), where, HARMLESS_KEYS)
    sizes = common_sizes(config, defaults)
    config.only("hidden_act", "silu", "swish")
    has_bias = name in ("qwen3", "smollm3", "granite") and config.flag("attention_bias", False)
    spec = ModelSpec(
        architecture=name,
        **sizes,
        norm="rms_norm",
        norm_eps=config.norm_eps("rms_norm_eps", defaults.get("rms_norm_eps", 1e-6)),
        activation="silu",
        gated=True,
        **read_rope(
            config,
            sizes,
            1.0 if name == "phi3" else None,
            default_theta=defaults.get("rope_theta", 10000.0),
        ),
        tied_embeddings=config.flag(
            "tie_word_embeddings", defaults.get("tie_word_embeddings", False)
        ),
        qkv_bias=has_bias,
        output_bias=has_bias,
        mlp_bias=name in ("smollm3", "granite") and config.flag("mlp_bias", False),
        blocks=reached(_blocks(name, config, sizes["num_layers"]), sizes["max_positions"]),
        qk_norm=name == "qwen3",
        **(read_multipliers(config) if name == "granite" else {}),
    )
    config.pass_over("attention_bias", "mlp_bias", "layer_types", "sliding_window")
    config.pass_over("use_sliding_window", "max_window_layers", "no_rope_layer_interval")
    config.finish()
    return sound(spec, where)


def _prepared(name: str, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the defaults that are this family's own, and names of old spelled anew."""
    made = dict(values)
    if name == "qwen3" and made.get("head_dim") is None:
        made["head_dim"] = defaults["head_dim"]
    if name == "phi3":
        made.setdefault("original_max_position_embeddings", 4096)
        for key in ("rope_scaling", "rope_parameters"):
            block = made.get(key)
            if isinstance(block, Mapping):
                made[key] = {
                    k: "longrope" if k in ("type", "rope_type") and v in ("su", "yarn") else v
                    for k, v in block.items()
                }
    return made


def _blocks(name: str, config: Config, num_layers: int) -> tuple[BlockSpec, ...]:
    if name == "granite":
        return ()
    if name == "phi3":
        return every_layer(num_layers, config.get("sliding_window"), config)
    if name == "qwen3":
        is_used = config.flag("use_sliding_window", False)
        window = said_window(config, 4096) if is_used else None
        first = config.get("max_window_layers", default=28)
        default = [window is not None and layer >= first for layer in range(num_layers)]
        return read_layer_types(config, num_layers, default, window)
    turned = config.get("no_rope_layers")
    step = config.whole("no_rope_layer_interval", default=4)
    if turned is None:
        turned = [int((layer + 1) % step != 0) for layer in range(num_layers)]
    if not isinstance(turned, list) or len(turned) != num_layers or set(turned) - {0, 1}:
        raise UnsupportedError(
            "no_rope_layers must say 1 or 0 for each layer",
            where=f"{config.where}: no_rope_layers",
            found=turned,
        )
    is_used = config.flag("use_sliding_window", False)
    window = config.get("sliding_window") if is_used else None
    default = [window is not None and not turn for turn in turned]
    windows = read_layer_types(config, num_layers, default, window)
    blocks = windows or (BlockSpec(),) * num_layers
    made = tuple(
        BlockSpec(window=block.window, rotation="global" if turn else "none")
        for block, turn in zip(blocks, turned, strict=True)
    )
    return () if is_plain(made) else made


def spec_of_gguf(
    name: str, metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    sizes = gguf_sizes(config, name, shapes)
    if name == "phi3":
        sizes |= {"mlp_bias": False, "qkv_bias": False}
    num_layers = sizes["num_layers"]
    spec = ModelSpec(
        architecture=name,
        **sizes,
        norm="rms_norm",
        norm_eps=shortest(config.real(f"{name}.attention.layer_norm_rms_epsilon")),
        activation="silu",
        gated=True,
        rotary_dim=config.whole(f"{name}.rope.dimension_count", default=sizes["head_dim"]),
        rope_theta=shortest(config.real(f"{name}.rope.freq_base", default=10000.0)),
        qk_norm=name == "qwen3",
    )
    windows = gguf_windows(config, name, num_layers) if name != "granite" else ()
    turned = _every_fourth(num_layers) if name == "smollm3" else (BlockSpec(),) * num_layers
    blocks = zip(windows or turned, turned, strict=True)
    made = tuple(dataclasses.replace(turn, window=block.window) for block, turn in blocks)
    spec = spec.replace(blocks=reached(made, spec.max_positions))
    if name == "granite":
        config.only(f"{name}.rope.scaling.finetuned", True)
        spec = spec.replace(**gguf_multipliers(config, name))
    return sound(spec, where)


def _every_fourth(num_layers: int) -> tuple[BlockSpec, ...]:
    return tuple(
        BlockSpec(rotation="global" if (layer + 1) % NO_ROTATION_STEP else "none")
        for layer in range(num_layers)
    )


def config_of(spec: ModelSpec) -> dict[str, Any]:
    keys = {
        **size_keys(spec),
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_eps,
        **rope_config(spec),
    }
    match spec.architecture:
        case "phi3":
            keys |= plain_window_config(spec)
            keys["partial_rotary_factor"] = spec.rotary_dim / spec.head_dim
            scaling = keys.get("rope_scaling", {})
            original = scaling.pop("original_max_position_embeddings", spec.max_positions)
            keys["original_max_position_embeddings"] = original
        case "granite":
            keys |= {"attention_bias": spec.qkv_bias, "mlp_bias": spec.mlp_bias}
            keys |= multiplier_config(spec)
        case _:
            keys |= {"attention_bias": spec.qkv_bias} | layer_types(spec)
    if spec.architecture == "smollm3":
        keys["mlp_bias"] = spec.mlp_bias
        keys["no_rope_layers"] = [
            int(spec.block(layer).rotation != "none") for layer in range(spec.num_layers)
        ]
    return keys


def gguf_metadata(name: str, spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where llama.cpp has no place for what the spec says."""
    keys = plain_gguf_metadata(name, spec)
    blocks = [spec.block(layer) for layer in range(spec.num_layers)]
    rotations = [block.rotation for block in blocks]
    expected = _every_fourth(spec.num_layers) if name == "smollm3" else [BlockSpec()] * len(blocks)
    if rotations != [block.rotation for block in expected]:
        raise UnsupportedError(
            "GGUF has no place for these layers without positions", where=name, found=rotations
        )
    if name == "granite":
        keys |= multiplier_metadata(name, spec)
    return keys


def _family(
    name: str,
    class_name: str,
    *,
    permutes_rope: bool = False,
    folder_names: Naming = FOLDER_NAMES,
    gguf_names: Naming = GGUF_NAMES,
) -> Architecture:
    return Architecture(
        name,
        class_name,
        functools.partial(spec_of, name),
        functools.partial(spec_of_gguf, name),
        config_of,
        functools.partial(gguf_metadata, name),
        permutes_rope=permutes_rope,
        folder_names=folder_names,
        gguf_names=gguf_names,
    )


_FUSED = {
    **{f"self_attn.{part}_proj": "self_attn.qkv_proj" for part in "qkv"},
    "mlp.gate_proj": "mlp.gate_up_proj",
    "mlp.up_proj": "mlp.gate_up_proj",
}
QWEN3 = _family("qwen3", "Qwen3ForCausalLM")
SMOLLM3 = _family("smollm3", "SmolLM3ForCausalLM", permutes_rope=True)
GRANITE = _family("granite", "GraniteForCausalLM", permutes_rope=True)
PHI3 = _family(
    "phi3",
    "Phi3ForCausalLM",
    folder_names=Naming(names=_FUSED),
    gguf_names=gguf_naming(
        **{f"self_attn__{part}_proj": "attn_qkv" for part in "qkv"},
        mlp__gate_proj="ffn_up",
        mlp__up_proj="ffn_up",
    ),
)
