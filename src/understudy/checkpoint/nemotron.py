"""Nemotron-4 / Minitron: LayerNorm1P, squared ReLU without a gate, rotation of half of each head.

Sources: transformers `models/nemotron`, llama.cpp architecture "nemotron" (which adds 1 to every
norm gain at conversion).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from understudy.checkpoint.architecture import (
    Architecture,
    common_sizes,
    shortest,
    size_keys,
    size_metadata,
    sound,
)
from understudy.checkpoint.config import HARMLESS_KEYS, NORM_EPS, Config
from understudy.checkpoint.llama import gguf_sizes
from understudy.checkpoint.rope import MEGATRON_PARTIAL, read_rope, rope_config
from understudy.spec import ModelSpec

# What transformers 5.24 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 256000,
    "hidden_size": 6144,
    "intermediate_size": 24576,
    "num_hidden_layers": 32,
    "num_attention_heads": 48,
    "max_position_embeddings": 4096,
}


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS)
    sizes = common_sizes(config, DEFAULTS)
    config.only("hidden_act", "relu2")
    spec = ModelSpec(
        architecture="nemotron",
        **sizes,
        norm="layer_norm_1p",
        norm_eps=config.real(
            "norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", default=1e-5
        ),
        activation="relu2",
        gated=False,
        **read_rope(config, sizes, 0.5, partial_names=("partial_rotary_factor", *MEGATRON_PARTIAL)),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=config.flag("attention_bias", False),
        output_bias=config.flag("attention_bias", False),
        mlp_bias=config.flag("mlp_bias", False),
    )
    config.pass_over("sliding_window", "use_sliding_window", "max_window_layers", "layer_types")
    _name_megatron(config)
    config.finish()
    return sound(spec, where)


def _name_megatron(config: Config) -> None:
    """Warns where a key of Megatron's conversions counts that transformers does not read."""
    keys = (("partial_rotary_factor", MEGATRON_PARTIAL, 0.5), ("norm_eps", NORM_EPS, 1e-5))
    for name, others, default in keys:
        said = [n for n in others if config.values.get(n) not in (None, default)]
        if said and config.values.get(name) is None:
            config.warn(f"{said[0]} counts; transformers reads {name} alone, else {default:g}")


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    sizes = gguf_sizes(config, "nemotron", shapes)
    return sound(
        ModelSpec(
            architecture="nemotron",
            **sizes,
            norm="layer_norm_1p",
            norm_eps=shortest(config.real("nemotron.attention.layer_norm_epsilon")),
            activation="relu2",
            gated=False,
            rotary_dim=_rotary_dim(config, sizes),
            rope_theta=shortest(config.real("nemotron.rope.freq_base", default=10000.0)),
        ),
        where,
    )


def _rotary_dim(config: Config, sizes: Mapping[str, Any]) -> int:
    """How much of a head turns.

    llama.cpp's converter writes the share of hidden / heads, `int(share * hidden) // heads`, which
    is wrong where the head is wider. Then the share is sought that it comes from, half a head
    before others. Our own files are marked.
    """
    head_dim, hidden, heads = sizes["head_dim"], sizes["hidden_size"], sizes["num_heads"]
    own = config.get("understudy.rotary_dim")
    written = config.whole("nemotron.rope.dimension_count", default=head_dim)
    if own == written or hidden // heads == head_dim or written == head_dim // 2:
        return written
    shares = sorted(
        (Fraction(dim, head_dim) for dim in range(2, head_dim + 1, 2)),
        key=lambda share: share.denominator,
    )
    fitting = [share for share in shares if int(share * hidden) // heads == written]
    return int(fitting[0] * head_dim) if fitting else written


def config_of(spec: ModelSpec) -> dict[str, Any]:
    return {
        **size_keys(spec),
        "hidden_act": "relu2",
        "norm_eps": spec.norm_eps,
        "partial_rotary_factor": spec.rotary_dim / spec.head_dim,
        "attention_bias": spec.qkv_bias,
        "mlp_bias": spec.mlp_bias,
        **rope_config(spec),
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    return {
        **size_metadata("nemotron", spec),
        "nemotron.attention.layer_norm_epsilon": float(spec.norm_eps),
        "nemotron.rope.freq_base": float(spec.rope_theta),
        "nemotron.rope.dimension_count": spec.rotary_dim,
        "understudy.rotary_dim": spec.rotary_dim,
    }


NEMOTRON = Architecture(
    "nemotron",
    "NemotronForCausalLM",
    spec_of,
    spec_of_gguf,
    config_of,
    gguf_metadata,
    norm_offset=1.0,
)
