"""Llama and its sisters Mistral and Qwen2: RMSNorm, SiLU with a gate, rotation of whole heads.

Sources: transformers `models/{llama,mistral,qwen2}`, llama.cpp architectures "llama" (Mistral too)
and "qwen2".
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.architecture import (
    Architecture,
    common_sizes,
    shortest,
    size_keys,
    size_metadata,
    sound,
)
from understudy.checkpoint.config import HARMLESS_KEYS, Config
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.checkpoint.windows import (
    every_layer,
    gguf_windows,
    layer_types,
    plain_window_config,
    reached,
    read_layer_types,
    said_window,
    window_metadata,
)
from understudy.errors import FormatError, UnsupportedError
from understudy.spec import BlockSpec, ModelSpec

# What transformers 5.24 takes where a config.json lacks a key (`models/*/configuration_*.py`).
DEFAULTS: dict[str, dict[str, int]] = {
    "llama": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
    },
    "mistral": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "qwen2": {
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 22016,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "max_position_embeddings": 32768,
        "sliding_window": 4096,
        "max_window_layers": 28,
    },
}


def spec_of(name: str, values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS)
    sizes = common_sizes(config, DEFAULTS[name])
    config.only("hidden_act", "silu", "swish")
    is_llama = name == "llama"
    spec = ModelSpec(
        architecture=name,
        **sizes,
        blocks=reached(_windows(name, config, sizes["num_layers"]), sizes["max_positions"]),
        norm="rms_norm",
        norm_eps=config.norm_eps("rms_norm_eps", 1e-6),
        activation="silu",
        gated=True,
        **read_rope(config, sizes, default_partial=None),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=name == "qwen2" or (is_llama and config.flag("attention_bias", False)),
        output_bias=is_llama and config.flag("attention_bias", False),
        mlp_bias=is_llama and config.flag("mlp_bias", False),
    )
    if not is_llama:
        config.pass_over("attention_bias", "mlp_bias")
    config.finish()
    return sound(spec, where)


def _windows(name: str, config: Config, num_layers: int) -> tuple[BlockSpec, ...]:
    """Which layers attend to how many tokens, as far as transformers heeds it: all of a Mistral;
    of a Qwen2 those that `layer_types` names, or that come after the first `max_window_layers`; of
    a Llama none."""
    if name == "llama":
        config.pass_over("sliding_window", "use_sliding_window", "max_window_layers", "layer_types")
        return ()
    window = said_window(config, DEFAULTS[name]["sliding_window"])
    if name == "mistral":
        config.pass_over("use_sliding_window")
        return every_layer(num_layers, window, config)
    is_used = config.flag("use_sliding_window", False)
    first = config.get("max_window_layers", default=DEFAULTS[name]["max_window_layers"])
    default = [is_used and window is not None and layer >= first for layer in range(num_layers)]
    return read_layer_types(config, num_layers, default, window=window if is_used else None)


def gguf_sizes(
    config: Config, arch: str, shapes: Mapping[str, tuple[int, ...]], *, expert_count: int = 0
) -> dict[str, Any]:
    """Sizes of a GGUF file, and the choices that its tensors show: tied embeddings, biases; another
    number of experts is refused."""
    layers = config.whole(f"{arch}.block_count")
    hidden = config.whole(f"{arch}.embedding_length")

    def by_layer(key: str, default: int | None = None) -> int:
        return _same_in_all(config, f"{arch}.{key}", layers, default)

    heads = by_layer("attention.head_count")
    head_dim = config.whole(f"{arch}.attention.key_length", default=max(1, hidden // heads))
    config.only(f"{arch}.attention.value_length", head_dim)
    sizes = {
        "num_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": by_layer("feed_forward_length"),
        "num_heads": heads,
        "num_kv_heads": by_layer("attention.head_count_kv", default=heads),
        "head_dim": head_dim,
        "vocab_size": shapes["token_embd.weight"][0]
        if "token_embd.weight" in shapes
        else config.whole(f"{arch}.vocab_size"),
        "max_positions": config.whole(f"{arch}.context_length"),
        "tied_embeddings": "output.weight" not in shapes,
        "qkv_bias": "blk.0.attn_q.bias" in shapes,
        "output_bias": "blk.0.attn_output.bias" in shapes,
        "mlp_bias": "blk.0.ffn_up.bias" in shapes,
    }
    config.only(f"{arch}.expert_count", expert_count)
    config.only(f"{arch}.attention.causal", True)
    return sizes


def _same_in_all(config: Config, key: str, num_layers: int, default: int | None) -> int:
    """A whole number that may be given once, or alike for every layer."""
    value = config.values.get(key)
    if isinstance(value, list) and len(value) != num_layers:
        raise FormatError(
            "wrong number of entries",
            where=f"{config.where}: {key}",
            expected=num_layers,
            found=len(value),
        )
    if isinstance(value, list) and len(set(value)) > 1:
        raise UnsupportedError(
            "layers of different sizes are not implemented",
            where=f"{config.where}: {key}",
            found=value,
        )
    return config.whole(key, default=default)


def spec_of_gguf(
    arch: str, metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    """A Llama whose layers have a window is a Mistral, which its file calls "llama" too."""
    config = Config(metadata, where)
    sizes = gguf_sizes(config, arch, shapes)
    rotary_dim = config.whole(f"{arch}.rope.dimension_count", default=sizes["head_dim"])
    if rotary_dim != sizes["head_dim"]:
        raise UnsupportedError(
            "heads of this architecture turn whole, in llama.cpp too",
            where=f"{where}: {arch}.rope.dimension_count",
            expected=sizes["head_dim"],
            found=rotary_dim,
        )
    blocks = reached(gguf_windows(config, arch, sizes["num_layers"]), sizes["max_positions"])
    spec = ModelSpec(
        architecture="mistral" if arch == "llama" and blocks else arch,
        **sizes,
        norm="rms_norm",
        norm_eps=shortest(config.real(f"{arch}.attention.layer_norm_rms_epsilon")),
        activation="silu",
        gated=True,
        rotary_dim=rotary_dim,
        rope_theta=shortest(config.real(f"{arch}.rope.freq_base", default=10000.0)),
        blocks=blocks,
    )
    return sound(spec, where)


def config_of(spec: ModelSpec) -> dict[str, Any]:
    keys = {
        **size_keys(spec),
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_eps,
        **rope_config(spec),
    }
    if spec.architecture == "llama":
        keys |= {"attention_bias": spec.qkv_bias, "mlp_bias": spec.mlp_bias}
    if spec.architecture == "mistral":
        keys |= plain_window_config(spec)
    return keys | (layer_types(spec) if spec.architecture == "qwen2" else {})


def gguf_metadata(arch: str, spec: ModelSpec, period: int = 1) -> dict[str, Any]:
    """What all families write that are a Llama with options; `period` as in `gguf_windows`."""
    return {
        **size_metadata(arch, spec),
        **window_metadata(arch, spec, period),
        f"{arch}.attention.layer_norm_rms_epsilon": float(spec.norm_eps),
        f"{arch}.rope.freq_base": float(spec.rope_theta),
        f"{arch}.rope.dimension_count": spec.rotary_dim,
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
