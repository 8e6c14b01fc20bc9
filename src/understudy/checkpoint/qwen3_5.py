"""Qwen3.5 (dense), its text network: the gated delta rule, and in every fourth layer attention with
q/k norms, a gate behind it, and a quarter of each head that turns.

Sources: transformers 5.23 `models/qwen3_5` (`qwen3_5_text`), llama.cpp architecture "qwen35" (gguf
0.19). Norm gains are zero-centred in Hugging Face's files, but for the one of the gated norm; a
GGUF has 1 added, and its value heads lie in another order (`tiled_heads`); mlx-lm adds 1 too. Three
positions turn a head of the original (`mrope_section`), which in a text are one and the same.
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
from understudy.checkpoint.config import HARMLESS_KEYS, Config, is_object
from understudy.checkpoint.llama import gguf_sizes
from understudy.checkpoint.naming import gguf_naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.checkpoint.weights import Weights
from understudy.checkpoint.windows import is_texts, named_kinds
from understudy.errors import FormatError, UnsupportedError
from understudy.formats.tensor import StoredTensor
from understudy.gated_delta import NORM as GATED_NORM
from understudy.gated_delta import GatedDelta
from understudy.spec import BlockSpec, ModelSpec

# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 248320,
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 32768,
}
HEAD_DIM, PARTIAL, INTERVAL = 256, 0.25, 4
_SECTIONS = (11, 11, 10)  # of the 32 pairs that turn, by the position of time, height and width
_DELTA, _ATTENTION = BlockSpec("gated_delta"), BlockSpec()
_KINDS = {"linear_attention": _DELTA, "full_attention": _ATTENTION}
# Heads that predict further tokens, and settings of other programs.
_UNREAD = (
    *("mtp_num_hidden_layers", "mtp_use_dedicated_embeddings", "mamba_ssm_dtype"),
    *("full_attention_interval", "language_model_only"),
)
_TURNS_OF_IMAGES = ("mrope_section", "mrope_interleaved")


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    made = {"head_dim": HEAD_DIM} | _without_images(values)
    config = Config(made, where, HARMLESS_KEYS | frozenset(_UNREAD))
    sizes = common_sizes(config, DEFAULTS)
    config.only("hidden_act", "silu", "swish")
    config.only("attn_output_gate", True)
    has_bias = config.flag("attention_bias", False)
    spec = _spec(
        sizes,
        _blocks(config, sizes["num_layers"]),
        GatedDelta(
            num_heads=config.whole("linear_num_value_heads", default=32),
            num_key_heads=config.whole("linear_num_key_heads", default=16),
            key_dim=config.whole("linear_key_head_dim", default=128),
            value_dim=config.whole("linear_value_head_dim", default=128),
            conv_size=config.whole("linear_conv_kernel_dim", default=4),
        ),
        norm_eps=config.norm_eps("rms_norm_eps", 1e-6),
        **read_rope(config, sizes, PARTIAL),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        output_bias=has_bias,
    )
    config.pass_over("sliding_window", "use_sliding_window", "max_window_layers")
    config.finish()
    return sound(spec, where)


def _without_images(values: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what turns heads by the places of images."""
    made = dict(values)
    for name in ("rope_parameters", "rope_scaling"):
        if is_object(block := made.get(name)):
            made[name] = {k: v for k, v in block.items() if k not in _TURNS_OF_IMAGES}
    return made


def _blocks(config: Config, num_layers: int) -> tuple[BlockSpec, ...]:
    kinds = named_kinds(config.get("layer_types"))
    if kinds is None:
        step = config.whole("full_attention_interval", default=INTERVAL)
        return _by_interval(step, num_layers)
    if not is_texts(kinds) or len(kinds) != num_layers or set(kinds) - set(_KINDS):
        raise UnsupportedError(
            "unknown layer",
            where=f"{config.where}: layer_types",
            expected=f"{num_layers} of {' or '.join(_KINDS)}",
            found=kinds,
        )
    return tuple(_KINDS[kind] for kind in kinds)


def _by_interval(step: int, num_layers: int) -> tuple[BlockSpec, ...]:
    return tuple(_DELTA if (layer + 1) % step else _ATTENTION for layer in range(num_layers))


def _spec(
    sizes: Mapping[str, Any], blocks: tuple[BlockSpec, ...], delta: GatedDelta, **settings: Any
) -> ModelSpec:
    return ModelSpec(
        architecture="qwen3_5_text",
        **(dict(sizes) | settings),
        norm="rms_norm_1p",
        activation="silu",
        gated=True,
        qk_norm=True,
        output_gate=True,
        blocks=blocks,
        gated_delta=delta,
    )


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    further = config.get("qwen35.nextn_predict_layers", default=0)
    sizes = gguf_sizes(config, "qwen35", shapes)
    num_layers = sizes["num_layers"] - (further if type(further) is int else 0)
    heads = config.whole("qwen35.ssm.time_step_rank")
    delta = GatedDelta(
        num_heads=heads,
        num_key_heads=config.whole("qwen35.ssm.group_count"),
        key_dim=config.whole("qwen35.ssm.state_size"),
        value_dim=config.whole("qwen35.ssm.inner_size") // heads,
        conv_size=config.whole("qwen35.ssm.conv_kernel"),
    )
    spec = _spec(
        sizes | {"num_layers": num_layers},
        _gguf_blocks(config, num_layers),
        delta,
        norm_eps=shortest(config.real("qwen35.attention.layer_norm_rms_epsilon")),
        rotary_dim=config.whole("qwen35.rope.dimension_count", default=sizes["head_dim"]),
        rope_theta=shortest(config.real("qwen35.rope.freq_base", default=10000.0)),
        qkv_bias=any(name.endswith(".attn_q.bias") for name in shapes),
        output_bias=any(name.endswith(".attn_output.bias") for name in shapes),
    )
    return sound(spec, where)


def _gguf_blocks(config: Config, num_layers: int) -> tuple[BlockSpec, ...]:
    """By the list of recurrent layers, else by the interval of the others."""
    marks = config.get("qwen35.attention.recurrent_layers")
    if marks is None:
        step = config.whole("qwen35.full_attention_interval", default=INTERVAL)
        return _by_interval(step, num_layers)
    if not isinstance(marks, list) or len(marks) < num_layers or set(marks) - {0, 1}:
        raise FormatError(
            "not true or false for each layer",
            where=f"{config.where}: qwen35.attention.recurrent_layers",
            expected=num_layers,
            found=marks,
        )
    return tuple(_DELTA if mark else _ATTENTION for mark in marks[:num_layers])


def config_of(spec: ModelSpec) -> dict[str, Any]:
    delta, names = spec.gated_delta, {block: name for name, block in _KINDS.items()}
    assert delta is not None
    rope = rope_config(spec)
    partial = {"partial_rotary_factor": spec.rotary_dim / spec.head_dim}
    scaling = rope.pop("rope_scaling", {"rope_type": "default"})
    return {
        **size_keys(spec),
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_eps,
        "attention_bias": spec.qkv_bias,
        "attn_output_gate": True,
        "layer_types": [names[spec.block(layer)] for layer in range(spec.num_layers)],
        "linear_num_value_heads": delta.num_heads,
        "linear_num_key_heads": delta.num_key_heads,
        "linear_key_head_dim": delta.key_dim,
        "linear_value_head_dim": delta.value_dim,
        "linear_conv_kernel_dim": delta.conv_size,
        "rope_parameters": {**scaling, **rope, **partial},
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where llama.cpp has no place for what the spec says."""
    delta = spec.gated_delta
    assert delta is not None
    if delta.key_dim != delta.value_dim:
        raise UnsupportedError(
            "a GGUF of Qwen3.5 has one size of heads for keys and values",
            where="qwen35.ssm.state_size",
            expected=delta.key_dim,
            found=delta.value_dim,
        )
    pairs = spec.rotary_dim // 2
    first = pairs * _SECTIONS[0] // sum(_SECTIONS)
    return {
        **size_metadata("qwen35", spec),
        "qwen35.attention.layer_norm_rms_epsilon": float(spec.norm_eps),
        "qwen35.attention.recurrent_layers": [
            spec.block(layer) == _DELTA for layer in range(spec.num_layers)
        ],
        "qwen35.full_attention_interval": INTERVAL,
        "qwen35.rope.freq_base": float(spec.rope_theta),
        "qwen35.rope.dimension_count": spec.rotary_dim,
        "qwen35.rope.dimension_sections": [first, first, pairs - 2 * first, 0],
        "qwen35.ssm.conv_kernel": delta.conv_size,
        "qwen35.ssm.state_size": delta.key_dim,
        "qwen35.ssm.group_count": delta.num_key_heads,
        "qwen35.ssm.time_step_rank": delta.num_heads,
        "qwen35.ssm.inner_size": delta.value_size,
    }


def undo_mlx(weights: Weights) -> None:
    """Folders of mlx-lm (`sanitize`) have 1 added to the gains, and a convolution's inputs last:
    (channels, taps, 1)."""
    shapes = [weights.stored(name).shape for name in weights if name.endswith("conv1d.weight")]
    if not any(len(shape) == 3 and shape[-1] == 1 < shape[1] for shape in shapes):
        return
    for name in weights:
        if name.endswith("norm.weight") and not name.endswith(GATED_NORM):
            weights.change(name, _minus_1)


def _minus_1(gain: StoredTensor) -> StoredTensor:
    return StoredTensor.of(gain.name, gain.to_float32() - 1)


QWEN3_5 = Architecture(
    "qwen3_5_text",
    "Qwen3_5ForCausalLM",
    spec_of,
    spec_of_gguf,
    config_of,
    gguf_metadata,
    gguf_architecture="qwen35",
    norm_offset=1.0,
    mend_folder=undo_mlx,
    gguf_names=gguf_naming(
        post_attention_layernorm="post_attention_norm",
        linear_attn__in_proj_qkv="attn_qkv",
        linear_attn__in_proj_z="attn_gate",
        linear_attn__in_proj_b="ssm_beta",
        linear_attn__in_proj_a="ssm_alpha",
        linear_attn__conv1d="ssm_conv1d",
        linear_attn__norm="ssm_norm",
        linear_attn__A_log="ssm_a",
        linear_attn__dt_bias="ssm_dt.bias",
        linear_attn__out_proj="ssm_out",
    ),
)
