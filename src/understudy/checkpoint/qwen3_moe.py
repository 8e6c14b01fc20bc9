"""Qwen3 with mixtures of experts (30B-A3B, Coder, 235B-A22B): a Qwen3 but for its MLPs.

Sources: transformers 5.23 `models/qwen3_moe`, llama.cpp architecture "qwen3moe" (gguf 0.19), which
has mixtures in every layer and always divides weights by their sum. A window is that of all layers.
"""

from __future__ import annotations

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
from understudy.checkpoint.naming import Naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.checkpoint.windows import (
    every_layer,
    gguf_windows,
    plain_window_config,
    reached,
    said_window,
)
from understudy.errors import FormatError, UnsupportedError
from understudy.experts import Experts
from understudy.spec import BlockSpec, ModelSpec

ARCH = "qwen3moe"
# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 151936,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
}
_NAMES = {"mlp.router": "mlp.gate"}


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS)
    sizes = common_sizes(config, DEFAULTS)
    config.only("hidden_act", "silu", "swish")
    has_bias = config.flag("attention_bias", False)
    experts = Experts(
        count=config.whole("num_experts", "num_local_experts", default=128),
        used=config.whole("num_experts_per_tok", default=8),
        inner_size=config.whole("moe_intermediate_size", default=768),
        is_normalised=config.flag("norm_topk_prob", False),
    )
    spec = _spec(
        sizes,
        _with_experts(config, _windows(config, sizes)),
        experts,
        norm_eps=config.norm_eps("rms_norm_eps", 1e-6),
        **read_rope(config, sizes, None),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        output_bias=has_bias,
    )
    config.pass_over("mlp_bias", "layer_types", "max_window_layers")
    config.pass_over("shared_expert_intermediate_size")
    config.finish()
    return sound(spec, where)


def _windows(config: Config, sizes: Mapping[str, Any]) -> tuple[BlockSpec, ...]:
    is_used = config.flag("use_sliding_window", False)
    window = said_window(config, 4096)
    blocks = every_layer(sizes["num_layers"], window if is_used else None, config)
    blocks = reached(blocks, sizes["max_positions"])
    return blocks or (BlockSpec(),) * sizes["num_layers"]


def _with_experts(config: Config, blocks: tuple[BlockSpec, ...]) -> tuple[BlockSpec, ...]:
    """Every `decoder_sparse_step`-th layer is a mixture, if `mlp_only_layers` does not name it."""
    step = config.whole("decoder_sparse_step", default=1)
    plain = config.get("mlp_only_layers", default=[])
    if not isinstance(plain, list) or any(type(layer) is not int for layer in plain):
        raise FormatError(
            "not a list of numbers", where=f"{config.where}: mlp_only_layers", found=plain
        )
    return tuple(
        BlockSpec(window=block.window, has_experts=(i + 1) % step == 0 and i not in plain)
        for i, block in enumerate(blocks)
    )


def _spec(
    sizes: Mapping[str, Any], blocks: tuple[BlockSpec, ...], experts: Experts, **settings: Any
) -> ModelSpec:
    if all(block.has_experts for block in blocks):  # the size of plain MLPs is idle
        sizes = dict(sizes) | {"intermediate_size": experts.inner_size}
    return ModelSpec(
        architecture="qwen3_moe",
        **(dict(sizes) | settings),
        norm="rms_norm",
        activation="silu",
        gated=True,
        qk_norm=True,
        blocks=blocks,
        experts=experts,
    )


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    experts = Experts(
        count=config.whole(f"{ARCH}.expert_count"),
        used=config.whole(f"{ARCH}.expert_used_count"),
        inner_size=_inner_size(config),
    )
    sizes = gguf_sizes(config, ARCH, shapes, expert_count=experts.count)
    windows = gguf_windows(config, ARCH, sizes["num_layers"])
    blocks = reached(windows, sizes["max_positions"]) or (BlockSpec(),) * sizes["num_layers"]
    spec = _spec(
        sizes | {"mlp_bias": False},
        tuple(BlockSpec(window=block.window, has_experts=True) for block in blocks),
        experts,
        norm_eps=shortest(config.real(f"{ARCH}.attention.layer_norm_rms_epsilon")),
        rotary_dim=config.whole(f"{ARCH}.rope.dimension_count", default=sizes["head_dim"]),
        rope_theta=shortest(config.real(f"{ARCH}.rope.freq_base", default=10000.0)),
    )
    return sound(spec, where)


def _inner_size(config: Config) -> int:
    """Older files say only how much all experts of a token are together."""
    key = f"{ARCH}.expert_feed_forward_length"
    if config.get(key):
        return config.whole(key)
    used = config.whole(f"{ARCH}.expert_used_count")
    return config.whole(f"{ARCH}.feed_forward_length") // used


def config_of(spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where layers have different windows."""
    experts, plain = spec.experts, plain_window_config(spec)
    assert experts is not None
    return {
        **size_keys(spec),
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_eps,
        "attention_bias": spec.qkv_bias,
        "num_experts": experts.count,
        "num_experts_per_tok": experts.used,
        "moe_intermediate_size": experts.inner_size,
        "norm_topk_prob": experts.is_normalised,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [i for i, b in enumerate(spec.blocks) if not b.has_experts],
        **plain,
        "use_sliding_window": plain["sliding_window"] is not None,
        **rope_config(spec),
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where llama.cpp has no place for what the spec says."""
    experts = spec.experts
    assert experts is not None
    if not experts.is_normalised or not all(block.has_experts for block in spec.blocks):
        raise UnsupportedError(
            "llama.cpp has mixtures in every layer of this family, and weights that sum to one",
            where=ARCH,
        )
    return {
        **plain_gguf_metadata(ARCH, spec),
        f"{ARCH}.expert_count": experts.count,
        f"{ARCH}.expert_used_count": experts.used,
        f"{ARCH}.expert_feed_forward_length": experts.inner_size,
    }


QWEN3_MOE = Architecture(
    "qwen3_moe",
    "Qwen3MoeForCausalLM",
    spec_of,
    spec_of_gguf,
    config_of,
    gguf_metadata,
    gguf_architecture=ARCH,
    folder_names=Naming(names=_NAMES),
)
