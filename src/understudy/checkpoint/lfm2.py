"""LFM2 and LFM2.5 (dense): gated short convolutions, and attention with q/k norms between them.

Sources: transformers 5.23 `models/lfm2`, llama.cpp architecture "lfm2" (gguf 0.19), where a layer
without key/value heads is a convolution and the last norm is called `token_embd_norm`.
"""

from __future__ import annotations

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
from understudy.checkpoint.naming import Naming, gguf_naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.checkpoint.windows import is_texts, named_kinds
from understudy.errors import FormatError, UnsupportedError
from understudy.spec import BlockSpec, ModelSpec

# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 65536,
    "hidden_size": 2560,
    "intermediate_size": 12288,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 128000,
}
THETA = 1_000_000.0
# Of Liquid's own program: transformers does not read them, what they say is in other keys.
_UNREAD = (
    *("block_dim", "block_mlp_init_scale", "block_out_init_scale", "block_use_swiglu", "theta"),
    *("block_use_xavier_init", "conv_dim", "conv_dim_out", "conv_use_xavier_init", "num_heads"),
    *("block_norm_eps", "use_pos_enc"),
)
_CONV, _ATTENTION = BlockSpec("short_conv"), BlockSpec()
_KINDS = {"conv": _CONV, "full_attention": _ATTENTION}


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS | frozenset(_UNREAD))
    sizes = common_sizes(config, DEFAULTS)
    spec = _spec(
        sizes | {"intermediate_size": _inner_size(config, sizes["intermediate_size"])},
        layer_blocks(config, sizes["num_layers"]),
        norm_eps=config.norm_eps("norm_eps", 1e-5),
        **read_rope(config, sizes, None, default_theta=THETA),
        tied_embeddings=config.get("tie_word_embeddings", "tie_embedding", default=True),
        conv_bias=config.flag("conv_bias", False),
        conv_size=config.whole("conv_L_cache", default=3),
    )
    config.finish()
    return sound(spec, where)


def _inner_size(config: Config, size: int) -> int:
    """transformers narrows an MLP to two thirds, rounded up, unless it is told not to."""
    size = config.whole("block_ff_dim", default=size)
    multiple = config.whole("block_multiple_of", default=256)
    factor = config.real("block_ffn_dim_multiplier", default=1.0)
    is_null = config.values.get("block_ffn_dim_multiplier", factor) is None
    if not config.flag("block_auto_adjust_ff_dim", True):
        return size
    if is_null:
        return int(2 * size / 3)
    return -(-int(factor * int(2 * size / 3)) // multiple) * multiple


def layer_blocks(config: Config, num_layers: int) -> tuple[BlockSpec, ...]:
    """Convolutions and attention by their names, or by the numbers of the layers with attention."""
    kinds, attending = named_kinds(config.get("layer_types")), config.get("full_attn_idxs")
    if kinds is None:
        every = range(num_layers) if attending is None else attending
        kinds = ["full_attention" if layer in every else "conv" for layer in range(num_layers)]
    if not is_texts(kinds) or len(kinds) != num_layers or set(kinds) - set(_KINDS):
        raise UnsupportedError(
            "unknown layer",
            where=f"{config.where}: layer_types",
            expected=f"{num_layers} of {' or '.join(_KINDS)}",
            found=kinds,
        )
    return tuple(_KINDS[kind] for kind in kinds)


def _spec(sizes: Mapping[str, Any], blocks: tuple[BlockSpec, ...], **settings: Any) -> ModelSpec:
    return ModelSpec(
        architecture="lfm2",
        **(dict(sizes) | settings),
        norm="rms_norm",
        activation="silu",
        gated=True,
        qk_norm=True,
        blocks=blocks,
    )


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    layers, heads = config.whole("lfm2.block_count"), config.whole("lfm2.attention.head_count")
    kv_heads = config.require("lfm2.attention.head_count_kv")
    kv_heads = kv_heads if isinstance(kv_heads, list) else [kv_heads] * layers
    if len(kv_heads) != layers or any(type(n) is not int or n < 0 for n in kv_heads):
        raise FormatError(
            "not one whole number for each layer",
            where=f"{where}: lfm2.attention.head_count_kv",
            expected=layers,
            found=kv_heads,
        )
    config.only("lfm2.attention.causal", True)
    hidden = config.whole("lfm2.embedding_length")
    head_dim = config.whole("lfm2.attention.key_length", default=hidden // heads)
    sizes = {
        "num_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": config.whole("lfm2.feed_forward_length"),
        "num_heads": heads,
        "num_kv_heads": max(kv_heads) or heads,
        "head_dim": head_dim,
        "vocab_size": shapes.get("token_embd.weight", (0,))[0] or config.whole("lfm2.vocab_size"),
        "max_positions": config.whole("lfm2.context_length"),
    }
    spec = _spec(
        sizes,
        tuple(_ATTENTION if number else _CONV for number in kv_heads),
        norm_eps=shortest(config.real("lfm2.attention.layer_norm_rms_epsilon")),
        rotary_dim=config.whole("lfm2.rope.dimension_count", default=head_dim),
        rope_theta=shortest(config.real("lfm2.rope.freq_base", default=10000.0)),
        tied_embeddings="output.weight" not in shapes,
        conv_bias=any(name.endswith("shortconv.conv.bias") for name in shapes),
        conv_size=config.whole("lfm2.shortconv.l_cache"),
    )
    return sound(spec, where)


def config_of(spec: ModelSpec) -> dict[str, Any]:
    kinds = {block: name for name, block in _KINDS.items()}
    return {
        **size_keys(spec),
        "block_auto_adjust_ff_dim": False,
        "norm_eps": spec.norm_eps,
        "conv_L_cache": spec.conv_size,
        "conv_bias": spec.conv_bias,
        "layer_types": [kinds[spec.block(layer)] for layer in range(spec.num_layers)],
        **rope_config(spec),
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    return {
        **size_metadata("lfm2", spec),
        "lfm2.attention.head_count_kv": [
            spec.num_kv_heads if spec.block(layer) == _ATTENTION else 0
            for layer in range(spec.num_layers)
        ],
        "lfm2.attention.layer_norm_rms_epsilon": float(spec.norm_eps),
        "lfm2.rope.freq_base": float(spec.rope_theta),
        "lfm2.rope.dimension_count": spec.rotary_dim,
        "lfm2.shortconv.l_cache": spec.conv_size,
    }


FOLDER_NAMES = {
    "model.norm": "model.embedding_norm",
    "input_layernorm": "operator_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.o_proj": "self_attn.out_proj",
    "self_attn.q_norm": "self_attn.q_layernorm",
    "self_attn.k_norm": "self_attn.k_layernorm",
    "mlp.gate_proj": "feed_forward.w1",
    "mlp.up_proj": "feed_forward.w3",
    "mlp.down_proj": "feed_forward.w2",
}
GGUF_NAMES = gguf_naming(model__norm="token_embd_norm")
LFM2 = Architecture(
    "lfm2",
    "Lfm2ForCausalLM",
    spec_of,
    spec_of_gguf,
    config_of,
    gguf_metadata,
    folder_names=Naming(names=FOLDER_NAMES),
    gguf_names=GGUF_NAMES,
)
