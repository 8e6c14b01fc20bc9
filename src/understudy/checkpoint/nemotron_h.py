"""Nemotron-H, Nemotron Nano v2 and Nemotron 3 Nano: Mamba-2, attention without positions,
squared-ReLU MLPs and mixtures of experts, one of them a layer.

Sources: transformers 5.23 `models/nemotron_h`, llama.cpp architectures "nemotron_h" and, with
experts, "nemotron_h_moe" (gguf 0.19), where a layer without feed-forward and key/value heads is
Mamba-2, one without feed-forward is attention. A time step is at least `time_step_min`, as in
transformers' prefill; its own decoding and llama.cpp have no such floor, a GGUF no place for it.
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
from understudy.checkpoint.mamba import by_layer, gguf_mamba, has_tensor, mamba_metadata
from understudy.checkpoint.naming import Naming, gguf_naming
from understudy.checkpoint.nemotron_mixtures import FOLDER_NAMES as EXPERT_NAMES
from understudy.checkpoint.nemotron_mixtures import (
    expert_config,
    expert_metadata,
    gguf_experts,
    read_experts,
)
from understudy.errors import FormatError, UnsupportedError
from understudy.experts import Experts
from understudy.spec import BlockSpec, Mamba2, ModelSpec

# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 131072,
    "hidden_size": 4096,
    "intermediate_size": 21504,
    "num_hidden_layers": 52,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 4096,
}
MIN_TIME_STEP = 0.001
_MAMBA = BlockSpec("mamba2", has_mlp=False)
_ATTENTION = BlockSpec("attention", has_mlp=False, rotation="none")
_MLP = BlockSpec("none", has_mlp=True)
_MIXTURE = BlockSpec("none", has_mlp=True, has_experts=True)
_KINDS = {
    "M": _MAMBA,
    "*": _ATTENTION,
    "-": _MLP,
    "mamba": _MAMBA,
    "linear_attention": _MAMBA,
    "attention": _ATTENTION,
    "full_attention": _ATTENTION,
    "mlp": _MLP,
    "E": _MIXTURE,
    "moe": _MIXTURE,
}
_NAMES = {_MAMBA: "linear_attention", _ATTENTION: "full_attention", _MLP: "mlp", _MIXTURE: "moe"}
# Of experts where a model has none, and of a head that predicts further tokens: said by defaults.
_UNUSED = (
    *("n_routed_experts", "n_shared_experts", "moe_intermediate_size", "moe_latent_size"),
    *("moe_shared_expert_intermediate_size", "moe_shared_expert_overlap", "num_experts_per_tok"),
    *("n_group", "topk_group", "norm_topk_prob", "routed_scaling_factor", "expand"),
    *("mtp_layers_block_type", "mtp_hybrid_override_pattern", "num_logits_to_keep", "chunk_size"),
    *("time_step_max", "time_step_floor", "time_step_limit", "time_step_rank", "num_hidden_layers"),
    *("use_mamba_kernels", "mamba_ssm_cache_dtype", "rescale_prenorm_residual", "residual_in_fp32"),
    *("mamba_dt_max", "mamba_dt_limit", "mamba_dt_init_floor", "mamba_chunk_size", "mamba_expand"),
    *("rope_theta", "partial_rotary_factor", "rope_parameters", "rope_scaling"),
    *("mamba_proj_bias", "hidden_act", "attention_head_dim"),
)


def spec_of(values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS | frozenset(_UNUSED))
    blocks = _blocks(config)
    sizes = common_sizes(config, DEFAULTS | {"num_hidden_layers": len(blocks)})
    if not any(key in values for key in ("head_dim", "kv_channels", "attention_head_dim")):
        sizes["head_dim"] = 128
    experts = read_experts(config) if _MIXTURE in blocks else None
    sizes |= {"num_layers": len(blocks)} | _idle_size(blocks, experts)
    config.only("mlp_hidden_act", "relu2")
    config.only("mamba_hidden_act", "silu")
    if config.get("num_nextn_predict_layers", default=0):
        config.warn("the layers that predict further tokens are not read")
    config.pass_over("attention_bias", "sliding_window", "use_sliding_window", "max_window_layers")
    groups = config.whole("n_groups", "mamba_n_groups", default=8)
    spec = _spec(
        sizes,
        blocks,
        experts,
        norm_eps=config.norm_eps("layer_norm_epsilon", 1e-5),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        mlp_bias=config.flag("mlp_bias", False),
        mamba2=Mamba2(
            num_heads=config.whole("mamba_num_heads", default=128),
            head_dim=config.whole("mamba_head_dim", default=64),
            state_size=config.whole("ssm_state_size", default=128),
            num_groups=groups,
            norm_groups=groups,
            conv_size=config.whole("conv_kernel", "mamba_d_conv", default=4),
            conv_bias=config.get("use_conv_bias", "mamba_conv_bias", default=True),
            proj_bias=config.flag("use_bias", False),
            min_time_step=config.real("time_step_min", "mamba_dt_min", default=MIN_TIME_STEP),
        ),
    )
    config.finish()
    return sound(spec, where)


def _blocks(config: Config) -> tuple[BlockSpec, ...]:
    kinds = config.get("layers_block_type", "layer_types")
    pattern = config.get("hybrid_override_pattern")
    kinds = list(pattern) if kinds is None and isinstance(pattern, str) else kinds
    if not isinstance(kinds, list) or not kinds:
        raise FormatError(
            "the kinds of layers are missing",
            where=config.where,
            expected="layers_block_type or hybrid_override_pattern",
            found=kinds,
        )
    if unknown := [kind for kind in kinds if not isinstance(kind, str) or kind not in _KINDS]:
        raise UnsupportedError(
            "unknown layer",
            where=f"{config.where}: layers_block_type",
            expected="Mamba-2 (M), attention (*), MLP (-) and experts (E)",
            found=unknown[0],
        )
    return tuple(_KINDS[kind] for kind in kinds)


def _idle_size(blocks: tuple[BlockSpec, ...], experts: Experts | None) -> dict[str, int]:
    """The size of plain MLPs where there are none: that of an expert."""
    if experts is None or _MLP in blocks:
        return {}
    return {"intermediate_size": experts.inner_size}


def _spec(
    sizes: Mapping[str, Any],
    blocks: tuple[BlockSpec, ...],
    experts: Experts | None,
    **settings: Any,
) -> ModelSpec:
    return ModelSpec(
        architecture="nemotron_h" if experts is None else "nemotron_h_moe",
        **(dict(sizes) | settings),
        norm="rms_norm",
        activation="relu2",
        gated=False,
        rotary_dim=0,
        rope_theta=10000.0,
        blocks=blocks,
        experts=experts,
    )


def spec_of_gguf(
    arch: str, metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    layers = config.whole(f"{arch}.block_count")
    kv_heads = by_layer(config, f"{arch}.attention.head_count_kv", layers)
    inner = by_layer(config, f"{arch}.feed_forward_length", layers)
    has_experts = bool(config.get(f"{arch}.expert_count", default=0))
    mlp = _MIXTURE if has_experts else _MLP
    blocks = tuple(
        mlp if inner[i] else _ATTENTION if kv_heads[i] else _MAMBA for i in range(layers)
    )
    heads = max(by_layer(config, f"{arch}.attention.head_count", layers)) or 1
    hidden = config.whole(f"{arch}.embedding_length")
    sizes = {
        "num_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": max(inner) or 1,
        "num_heads": heads,
        "num_kv_heads": max(kv_heads) or heads,
        "head_dim": config.whole(f"{arch}.attention.key_length", default=hidden // heads),
        "vocab_size": shapes.get("token_embd.weight", (0,))[0]
        or config.whole(f"{arch}.vocab_size"),
        "max_positions": config.whole(f"{arch}.context_length"),
    }
    experts = gguf_experts(config, max(inner)) if has_experts else None
    config.only(f"{arch}.attention.causal", True)
    spec = _spec(
        sizes | _idle_size(blocks, experts),
        blocks,
        experts,
        norm_eps=shortest(config.real(f"{arch}.attention.layer_norm_rms_epsilon")),
        tied_embeddings="output.weight" not in shapes,
        qkv_bias=has_tensor(shapes, "attn_q.bias"),
        output_bias=has_tensor(shapes, "attn_output.bias"),
        mlp_bias=has_tensor(shapes, "ffn_up.bias"),
        mamba2=gguf_mamba(config, arch, shapes, MIN_TIME_STEP),
    )
    return sound(spec, where)


def config_of(spec: ModelSpec) -> dict[str, Any]:
    mamba = spec.mamba2
    assert mamba is not None
    return {
        **size_keys(spec),
        "layers_block_type": [_NAMES[block] for block in spec.blocks],
        "mlp_hidden_act": "relu2",
        "mamba_hidden_act": "silu",
        "layer_norm_epsilon": spec.norm_eps,
        "mamba_num_heads": mamba.num_heads,
        "mamba_head_dim": mamba.head_dim,
        "ssm_state_size": mamba.state_size,
        "n_groups": mamba.num_groups,
        "conv_kernel": mamba.conv_size,
        "use_conv_bias": mamba.conv_bias,
        "use_bias": mamba.proj_bias,
        "mamba_proj_bias": mamba.proj_bias,
        "time_step_min": mamba.min_time_step,
        "mlp_bias": spec.mlp_bias,
        **(expert_config(spec.experts) if spec.experts else {}),
    }


def gguf_metadata(arch: str, spec: ModelSpec) -> dict[str, Any]:
    mamba, blocks = spec.mamba2, spec.blocks
    assert mamba is not None
    return {
        **size_metadata(arch, spec),
        f"{arch}.feed_forward_length": [
            spec.intermediate_size if block == _MLP else 0 for block in blocks
        ],
        f"{arch}.attention.head_count_kv": [
            spec.num_kv_heads if block == _ATTENTION else 0 for block in blocks
        ],
        f"{arch}.attention.layer_norm_rms_epsilon": float(spec.norm_eps),
        f"{arch}.attention.layer_norm_epsilon": float(spec.norm_eps),
        f"{arch}.rope.dimension_count": spec.head_dim,
        **mamba_metadata(arch, mamba),
        **(expert_metadata(spec) if spec.experts else {}),
    }


_MIXER_PARTS = (
    *(f"self_attn.{part}_proj" for part in "qkvo"),
    *(f"mamba.{part}" for part in ("in_proj", "out_proj", "conv1d", "norm")),
    *(f"mamba.{part}" for part in ("A_log", "D", "dt_bias")),
    *(f"mlp.{part}_proj" for part in ("up", "down")),
)
_FOLDER = Naming(
    "backbone.layers.{}.",
    {
        "model.embed_tokens": "backbone.embeddings",
        "model.norm": "backbone.norm_f",
        "input_layernorm": "norm",
        "post_attention_layernorm": "norm",
        **{part: f"mixer.{part.partition('.')[2]}" for part in _MIXER_PARTS},
        **EXPERT_NAMES,
    },
    aliases={"model.": "backbone.", "backbone.embedding.": "backbone.embeddings."},
)


def _family(arch: str) -> Architecture:
    return Architecture(
        arch,
        "NemotronHForCausalLM",
        spec_of,
        functools.partial(spec_of_gguf, arch),
        config_of,
        functools.partial(gguf_metadata, arch),
        model_type="nemotron_h",
        folder_names=_FOLDER,
        gguf_names=gguf_naming(post_attention_layernorm="attn_norm"),
    )


NEMOTRON_H, NEMOTRON_H_MOE = _family("nemotron_h"), _family("nemotron_h_moe")
