"""Nemotron-4 / Minitron: LayerNorm1P, squared ReLU without a gate, rotation of half of each head.

Sources: transformers `models/nemotron`, llama.cpp architecture "nemotron" (which adds 1 to every norm gain at conversion).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.architecture import (
    HARMLESS_KEYS,
    Architecture,
    Config,
    common_sizes,
    shortest,
    sound,
)
from understudy.checkpoint.llama import gguf_sizes
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.spec import ModelSpec


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS)
    sizes = common_sizes(config)
    config.only("hidden_act", "relu2")
    config.only("quantization_config")
    spec = ModelSpec(
        architecture="nemotron",
        **sizes,
        norm="layer_norm_1p",
        norm_eps=config.real(
            "norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_epsilon", default=1e-5
        ),
        activation="relu2",
        gated=False,
        **read_rope(config, sizes["head_dim"], default_partial=0.5, default_theta=10000.0),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=config.flag("attention_bias", False),
        output_bias=config.flag("attention_bias", False),
        mlp_bias=config.flag("mlp_bias", False),
    )
    config.finish()
    return sound(spec, where)


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
            # Converters wrote rope.dimension_count as a share of hidden / heads; where the head is wider, that is wrong.
            rotary_dim=_rotary_dim(config, sizes),
            rope_theta=shortest(config.real("nemotron.rope.freq_base", default=10000.0)),
        ),
        where,
    )


def _rotary_dim(config: Config, sizes: Mapping[str, Any]) -> int:
    written = config.whole("nemotron.rope.dimension_count", default=sizes["head_dim"] // 2)
    narrow = sizes["hidden_size"] // sizes["num_heads"]
    if narrow != sizes["head_dim"] and written == narrow // 2:
        return int(sizes["head_dim"]) // 2
    return written


def config_of(spec: ModelSpec) -> dict[str, Any]:
    return {
        "num_hidden_layers": spec.num_layers,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_attention_heads": spec.num_heads,
        "num_key_value_heads": spec.num_kv_heads,
        "head_dim": spec.head_dim,
        "vocab_size": spec.vocab_size,
        "max_position_embeddings": spec.max_positions,
        "hidden_act": "relu2",
        "norm_eps": spec.norm_eps,
        "partial_rotary_factor": spec.rotary_dim / spec.head_dim,
        "tie_word_embeddings": spec.tied_embeddings,
        "attention_bias": spec.qkv_bias,
        "mlp_bias": spec.mlp_bias,
        **rope_config(spec),
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    return {
        "nemotron.context_length": spec.max_positions,
        "nemotron.embedding_length": spec.hidden_size,
        "nemotron.block_count": spec.num_layers,
        "nemotron.feed_forward_length": spec.intermediate_size,
        "nemotron.attention.head_count": spec.num_heads,
        "nemotron.attention.head_count_kv": spec.num_kv_heads,
        "nemotron.attention.key_length": spec.head_dim,
        "nemotron.attention.value_length": spec.head_dim,
        "nemotron.attention.layer_norm_epsilon": float(spec.norm_eps),
        "nemotron.rope.freq_base": float(spec.rope_theta),
        "nemotron.rope.dimension_count": spec.rotary_dim,
        "nemotron.rope.scaling.type": "none",
        "nemotron.vocab_size": spec.vocab_size,
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
