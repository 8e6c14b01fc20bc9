"""Granite 4 hybrid (`granitemoehybrid`): Mamba-2 and attention, an MLP or a mixture of experts
behind each, multipliers.

Sources: transformers 5.23 `models/granitemoehybrid`, llama.cpp architecture "granitehybrid" (gguf
0.19), where a layer without key/value heads is Mamba-2 and `rope.scaling.finetuned` says whether
heads turn. One of attention alone is a "granite" or a "granitemoe", as in llama.cpp's converter.
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
from understudy.checkpoint.config import HARMLESS_KEYS, Config, is_object
from understudy.checkpoint.granite_moe import (
    EXPERT_NAMES,
    expert_config,
    expert_metadata,
    gguf_experts,
    read_experts,
)
from understudy.checkpoint.mamba import by_layer, gguf_mamba, has_tensor, mamba_metadata
from understudy.checkpoint.multipliers import (
    gguf_multipliers,
    multiplier_config,
    multiplier_metadata,
    read_multipliers,
)
from understudy.checkpoint.naming import GGUF_NAMES, Naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.checkpoint.windows import is_texts, named_kinds
from understudy.errors import FormatError, UnsupportedError
from understudy.experts import Experts
from understudy.spec import BlockSpec, Mamba2, ModelSpec

ARCH = "granitehybrid"
# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 1024,
    "shared_intermediate_size": 1024,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
}
_MAMBA, _TURNED, _STRAIGHT = BlockSpec("mamba2"), BlockSpec(), BlockSpec(rotation="none")
# Of a kernel or of training, and of positions where there are none.
_UNREAD = (
    *("mamba_chunk_size", "init_method", "normalization_function"),
    *("rope_theta", "rope_scaling", "rope_parameters"),
)
_MIXER_KEYS = (
    *("mamba_n_heads", "mamba_d_head", "mamba_d_state", "mamba_n_groups", "mamba_d_conv"),
    *("mamba_expand", "mamba_conv_bias", "mamba_proj_bias", "time_step_limit"),
)


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    has_experts = values.get("num_local_experts", DEFAULTS["num_local_experts"]) != 0
    prepared = values if has_experts else _with_mlp_size(values)
    config = Config(prepared, where, HARMLESS_KEYS | frozenset(_UNREAD))
    config.only("hidden_act", "silu", "swish")
    config.only("position_embedding_type", "rope", "nope")
    sizes = common_sizes(config, DEFAULTS)
    experts = read_experts(config, sizes, DEFAULTS) if has_experts else None
    is_turned = config.get("position_embedding_type") == "rope"
    blocks = _blocks(config, sizes["num_layers"], _TURNED if is_turned else _STRAIGHT)
    has_bias = config.flag("attention_bias", False)
    spec = _spec(
        sizes,
        blocks,
        experts,
        norm_eps=config.norm_eps("rms_norm_eps", 1e-6),
        **(read_rope(config, sizes, None) if is_turned else _NO_ROPE),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        output_bias=has_bias,
        mamba2=_mamba(config, sizes["hidden_size"]) if _MAMBA in blocks else None,
        **read_multipliers(config),
    )
    config.seen |= {*_MIXER_KEYS, "num_experts_per_tok", "num_local_experts"}  # may stand idle
    config.pass_over("mlp_bias", "sliding_window", "use_sliding_window")
    config.finish()
    return sound(_plain(spec), where)


_NO_ROPE: dict[str, Any] = {"rotary_dim": 0, "rope_theta": 10000.0}


def _with_mlp_size(values: Mapping[str, Any]) -> dict[str, Any]:
    """`intermediate_size` is that of experts; that of an MLP stands under another name."""
    made = dict(values) | {"intermediate_size": values.get("shared_intermediate_size")}
    return {key: value for key, value in made.items() if key != "shared_intermediate_size"}


def _blocks(config: Config, num_layers: int, attention: BlockSpec) -> tuple[BlockSpec, ...]:
    kinds = named_kinds(config.get("layer_types", "layers_block_type"))
    kinds = ["linear_attention"] * num_layers if kinds is None else kinds
    known = {"linear_attention": _MAMBA, "full_attention": attention}
    if not is_texts(kinds) or len(kinds) != num_layers or set(kinds) - set(known):
        raise UnsupportedError(
            "unknown layer",
            where=f"{config.where}: layer_types",
            expected=f"{num_layers} of mamba or attention",
            found=kinds,
        )
    return tuple(known[kind] for kind in kinds)


def _mamba(config: Config, hidden: int) -> Mamba2:
    heads, groups = (
        config.whole("mamba_n_heads", default=128),
        config.whole("mamba_n_groups", default=1),
    )
    inner = config.whole("mamba_expand", default=2) * hidden
    head_dim = config.get("mamba_d_head", default="auto")
    if inner % heads or head_dim not in ("auto", inner // heads):
        raise FormatError(
            "the heads of Mamba-2 are not mamba_expand times the hidden size",
            where=f"{config.where}: mamba_d_head",
            expected=inner / heads,
            found=head_dim,
        )
    shortest_step, longest_step = _time_steps(config)
    if longest_step != float("inf"):
        raise UnsupportedError(
            "a longest time step is not implemented",
            where=f"{config.where}: time_step_limit",
            expected="infinity",
            found=longest_step,
        )
    return Mamba2(
        num_heads=heads,
        head_dim=inner // heads,
        state_size=config.whole("mamba_d_state", default=256),
        num_groups=groups,
        norm_groups=groups,
        conv_size=config.whole("mamba_d_conv", default=4),
        conv_bias=config.flag("mamba_conv_bias", True),
        proj_bias=config.flag("mamba_proj_bias", False),
        min_time_step=shortest_step,
    )


def _time_steps(config: Config) -> tuple[float, float]:
    """The shortest and the longest; transformers 5 writes infinity as an object."""
    limits = config.get("time_step_limit", default=[0.0, float("inf")])
    if isinstance(limits, list):
        limits = [one.get("__float__") if is_object(one) else one for one in limits]
        limits = [float("inf") if one == "Infinity" else one for one in limits]
    if not isinstance(limits, list) or [type(one) in (int, float) for one in limits] != [True] * 2:
        raise FormatError("not two numbers", where=f"{config.where}: time_step_limit", found=limits)
    return float(limits[0]), float(limits[1])


def _spec(
    sizes: Mapping[str, Any],
    blocks: tuple[BlockSpec, ...],
    experts: Experts | None,
    **settings: Any,
) -> ModelSpec:
    return ModelSpec(
        architecture="granitemoehybrid",
        **(dict(sizes) | settings),
        norm="rms_norm",
        activation="silu",
        gated=True,
        blocks=tuple(dataclasses.replace(b, has_experts=experts is not None) for b in blocks),
        experts=experts,
    )


def _plain(spec: ModelSpec) -> ModelSpec:
    """Attention with positions in every layer is a Granite's network."""
    if any(block.mixer != "attention" or block.rotation == "none" for block in spec.blocks):
        return spec
    if spec.experts is not None:
        return spec.replace(architecture="granitemoeshared")
    return spec.replace(architecture="granite", blocks=())


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    layers, hidden = config.whole(f"{ARCH}.block_count"), config.whole(f"{ARCH}.embedding_length")
    heads = max(by_layer(config, f"{ARCH}.attention.head_count", layers)) or 1
    kv_heads = by_layer(config, f"{ARCH}.attention.head_count_kv", layers)
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
    config.only(f"{ARCH}.attention.causal", True)
    is_turned = config.flag(f"{ARCH}.rope.scaling.finetuned", True)
    attention = _TURNED if is_turned else _STRAIGHT
    rope = {
        "rotary_dim": config.whole(f"{ARCH}.rope.dimension_count", default=head_dim),
        "rope_theta": shortest(config.real(f"{ARCH}.rope.freq_base", default=10000.0)),
    }
    spec = _spec(
        sizes,
        tuple(attention if number else _MAMBA for number in kv_heads),
        gguf_experts(config, ARCH, sizes["intermediate_size"]),
        norm_eps=shortest(config.real(f"{ARCH}.attention.layer_norm_rms_epsilon")),
        **(rope if is_turned else _NO_ROPE),
        tied_embeddings="output.weight" not in shapes,
        qkv_bias=has_tensor(shapes, "attn_q.bias"),
        output_bias=has_tensor(shapes, "attn_output.bias"),
        mlp_bias=has_tensor(shapes, "ffn_up.bias"),
        mamba2=None if all(kv_heads) else gguf_mamba(config, ARCH, shapes, 0.0),
        **gguf_multipliers(config, ARCH, default_logits=1.0),
    )
    return sound(_plain(spec), where)


def config_of(spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where transformers has no place for what the spec says."""
    is_turned = spec.rotary_dim > 0
    kinds = ["mamba" if block.mixer == "mamba2" else "attention" for block in spec.blocks]
    no_experts = {"num_local_experts": 0, "num_experts_per_tok": 0}
    mlps = no_experts | {"shared_intermediate_size": spec.intermediate_size}
    keys = {
        **size_keys(spec),
        **(expert_config(spec.experts) if spec.experts else mlps),
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_eps,
        "layer_types": kinds,
        "position_embedding_type": "rope" if is_turned else "nope",
        "attention_bias": spec.qkv_bias,
        **multiplier_config(spec),
        **(rope_config(spec) if is_turned else {}),
    }
    if spec.mamba2 is None:  # transformers holds its defaults to the hidden size
        return keys | {"mamba_n_heads": 1}
    return keys | _mamba_config(spec.mamba2, spec.hidden_size)


def _mamba_config(mamba: Mamba2, hidden: int) -> dict[str, Any]:
    if mamba.inner_size % hidden:
        raise UnsupportedError(
            "transformers has Mamba-2 mixers of a multiple of the hidden size in this family",
            where="mamba2",
            expected=f"a multiple of {hidden}",
            found=mamba.inner_size,
        )
    keys = {
        "mamba_n_heads": mamba.num_heads,
        "mamba_d_head": mamba.head_dim,
        "mamba_d_state": mamba.state_size,
        "mamba_n_groups": mamba.num_groups,
        "mamba_d_conv": mamba.conv_size,
        "mamba_expand": mamba.inner_size // hidden,
        "mamba_conv_bias": mamba.conv_bias,
        "mamba_proj_bias": mamba.proj_bias,
    }
    has_floor = mamba.min_time_step > 0
    return keys | ({"time_step_limit": [mamba.min_time_step, float("inf")]} if has_floor else {})


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    """Raises UnsupportedError where llama.cpp has no place for what the spec says."""
    mamba, hidden = spec.mamba2, spec.hidden_size
    if mamba is None or mamba.inner_size != 2 * hidden:
        raise UnsupportedError(
            "llama.cpp reads a Granite hybrid only with Mamba-2 mixers of twice the hidden size",
            where=ARCH,
            expected=2 * hidden,
            found=mamba and mamba.inner_size,
        )
    is_turned = spec.rotary_dim > 0
    keys = {
        **size_metadata(ARCH, spec),
        **(expert_metadata(ARCH, spec.experts) if spec.experts else {}),
        f"{ARCH}.attention.head_count_kv": [
            0 if block.mixer == "mamba2" else spec.num_kv_heads for block in spec.blocks
        ],
        f"{ARCH}.attention.layer_norm_rms_epsilon": float(spec.norm_eps),
        f"{ARCH}.rope.scaling.finetuned": is_turned,
        f"{ARCH}.rope.dimension_count": spec.rotary_dim if is_turned else spec.head_dim,
        f"{ARCH}.rope.freq_base": float(spec.rope_theta),
    }
    return keys | mamba_metadata(ARCH, mamba) | multiplier_metadata(ARCH, spec)


_FUSED = {
    "mlp.gate_proj": "shared_mlp.input_linear",
    "mlp.up_proj": "shared_mlp.input_linear",
    "mlp.down_proj": "shared_mlp.output_linear",
}
GRANITE_HYBRID = Architecture(
    "granitemoehybrid",
    "GraniteMoeHybridForCausalLM",
    spec_of,
    spec_of_gguf,
    config_of,
    gguf_metadata,
    gguf_architecture=ARCH,
    permutes_rope=True,
    folder_names=Naming(names=_FUSED | EXPERT_NAMES),
    gguf_names=GGUF_NAMES,
)
