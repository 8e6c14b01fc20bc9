"""LFM2 with mixtures of experts (8B-A1B, 24B-A2B): behind the first layers, which have MLPs.

Sources: transformers 5.23 `models/lfm2_moe`, llama.cpp architecture "lfm2moe" (gguf 0.19), which
always has a correction and weights that sum to one.
"""

from __future__ import annotations

import dataclasses
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
from understudy.checkpoint.lfm2 import FOLDER_NAMES, GGUF_NAMES, THETA, layer_blocks
from understudy.checkpoint.mamba import by_layer
from understudy.checkpoint.naming import Naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.errors import UnsupportedError
from understudy.experts import Experts
from understudy.spec import BlockSpec, ModelSpec

ARCH = "lfm2moe"
_SIGMOID = 2  # of llama.cpp's functions of scores
# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 65536,
    "hidden_size": 2048,
    "intermediate_size": 7168,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 128000,
}
_NAMES = FOLDER_NAMES | {
    "mlp.router": "feed_forward.gate",
    "mlp.router.correction": "feed_forward.expert_bias",
    "mlp.experts.*.gate_proj": "feed_forward.experts.*.w1",
    "mlp.experts.*.up_proj": "feed_forward.experts.*.w3",
    "mlp.experts.*.down_proj": "feed_forward.experts.*.w2",
}


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS)
    sizes = common_sizes(config, DEFAULTS)
    experts = Experts(
        count=config.whole("num_experts", default=32),
        used=config.whole("num_experts_per_tok", default=4),
        inner_size=config.whole("moe_intermediate_size", default=1792),
        scoring="sigmoid",
        is_normalised=config.flag("norm_topk_prob", True),
        scale=config.positive("routed_scaling_factor", default=1.0),
        has_correction=config.flag("use_expert_bias", True),
    )
    num_plain = config.get("num_dense_layers", default=2)
    spec = _spec(
        sizes,
        layer_blocks(config, sizes["num_layers"]),
        num_plain if type(num_plain) is int else config.whole("num_dense_layers"),
        experts,
        norm_eps=config.norm_eps("norm_eps", 1e-5),
        **read_rope(config, sizes, None, default_theta=THETA),
        tied_embeddings=config.get("tie_word_embeddings", "tie_embedding", default=True),
        conv_bias=config.flag("conv_bias", False),
        conv_size=config.whole("conv_L_cache", default=3),
    )
    config.finish()
    return sound(spec, where)


def _spec(
    sizes: Mapping[str, Any],
    blocks: tuple[BlockSpec, ...],
    num_plain: int,
    experts: Experts,
    **settings: Any,
) -> ModelSpec:
    return ModelSpec(
        architecture="lfm2_moe",
        **(dict(sizes) | settings),
        norm="rms_norm",
        activation="silu",
        gated=True,
        qk_norm=True,
        blocks=tuple(
            dataclasses.replace(block, has_experts=layer >= num_plain)
            for layer, block in enumerate(blocks)
        ),
        experts=experts,
    )


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    layers, heads = (
        config.whole(f"{ARCH}.block_count"),
        config.whole(f"{ARCH}.attention.head_count"),
    )
    kv_heads = by_layer(config, f"{ARCH}.attention.head_count_kv", layers)
    config.only(f"{ARCH}.attention.causal", True)
    hidden = config.whole(f"{ARCH}.embedding_length")
    head_dim = config.whole(f"{ARCH}.attention.key_length", default=hidden // heads)
    sizes = {
        "num_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": config.whole(f"{ARCH}.feed_forward_length"),
        "num_heads": heads,
        "num_kv_heads": max(kv_heads) or heads,
        "head_dim": head_dim,
        "vocab_size": shapes.get("token_embd.weight", (0,))[0]
        or config.whole(f"{ARCH}.vocab_size"),
        "max_positions": config.whole(f"{ARCH}.context_length"),
    }
    leading = f"{ARCH}.leading_dense_block_count"
    spec = _spec(
        sizes,
        tuple(BlockSpec() if number else BlockSpec("short_conv") for number in kv_heads),
        config.whole(leading) if config.get(leading) else 0,
        _gguf_experts(config),
        norm_eps=shortest(config.real(f"{ARCH}.attention.layer_norm_rms_epsilon")),
        rotary_dim=config.whole(f"{ARCH}.rope.dimension_count", default=head_dim),
        rope_theta=shortest(config.real(f"{ARCH}.rope.freq_base", default=10000.0)),
        tied_embeddings="output.weight" not in shapes,
        conv_bias=any(name.endswith("shortconv.conv.bias") for name in shapes),
        conv_size=config.whole(f"{ARCH}.shortconv.l_cache"),
    )
    return sound(spec, where)


def _gguf_experts(config: Config) -> Experts:
    config.only(f"{ARCH}.expert_gating_func", _SIGMOID)
    return Experts(
        count=config.whole(f"{ARCH}.expert_count"),
        used=config.whole(f"{ARCH}.expert_used_count"),
        inner_size=config.whole(f"{ARCH}.expert_feed_forward_length"),
        scoring="sigmoid",
    )


def _num_plain(spec: ModelSpec) -> int:
    """Layers before the first mixture."""
    mixed = [block.has_experts for block in spec.blocks]
    return mixed.index(True) if any(mixed) else spec.num_layers


def config_of(spec: ModelSpec) -> dict[str, Any]:
    experts = spec.experts
    assert experts is not None
    kinds = ["conv" if block.mixer == "short_conv" else "full_attention" for block in spec.blocks]
    return {
        **size_keys(spec),
        "num_experts": experts.count,
        "num_experts_per_tok": experts.used,
        "moe_intermediate_size": experts.inner_size,
        "norm_topk_prob": experts.is_normalised,
        "routed_scaling_factor": experts.scale,
        "use_expert_bias": experts.has_correction,
        "num_dense_layers": _num_plain(spec),
        "norm_eps": spec.norm_eps,
        "conv_L_cache": spec.conv_size,
        "conv_bias": spec.conv_bias,
        "layer_types": kinds,
        **rope_config(spec),
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where llama.cpp has no place for what the spec says."""
    experts = spec.experts
    assert experts is not None
    is_known = experts.is_normalised and experts.has_correction and experts.scale == 1
    if not is_known or not any(block.has_experts for block in spec.blocks):
        raise UnsupportedError(
            "llama.cpp has a correction, weights that sum to one and no scale in this family's "
            "mixtures",
            where=ARCH,
        )
    return {
        **size_metadata(ARCH, spec),
        f"{ARCH}.attention.head_count_kv": [
            0 if block.mixer == "short_conv" else spec.num_kv_heads for block in spec.blocks
        ],
        f"{ARCH}.attention.layer_norm_rms_epsilon": float(spec.norm_eps),
        f"{ARCH}.rope.freq_base": float(spec.rope_theta),
        f"{ARCH}.rope.dimension_count": spec.rotary_dim,
        f"{ARCH}.shortconv.l_cache": spec.conv_size,
        f"{ARCH}.leading_dense_block_count": _num_plain(spec),
        f"{ARCH}.expert_count": experts.count,
        f"{ARCH}.expert_used_count": experts.used,
        f"{ARCH}.expert_feed_forward_length": experts.inner_size,
        f"{ARCH}.expert_gating_func": _SIGMOID,
    }


LFM2_MOE = Architecture(
    "lfm2_moe",
    "Lfm2MoeForCausalLM",
    spec_of,
    spec_of_gguf,
    config_of,
    gguf_metadata,
    gguf_architecture=ARCH,
    folder_names=Naming(names=_NAMES),
    gguf_names=GGUF_NAMES,
)
