"""Granite with mixtures of experts (`granitemoe`, `granitemoeshared`): a dense Granite but for its
MLPs; and what Granite's files say of experts, the hybrids' too.

Sources: transformers 5.23 `models/{granitemoe,granitemoeshared}`, llama.cpp architecture
"granitemoe" (gguf 0.19). Weights of a token's experts are the softmax of their scores alone, which
is that of all scores divided by the sum of the chosen.
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
from understudy.checkpoint.naming import Naming
from understudy.checkpoint.rope import read_rope, rope_config
from understudy.experts import Experts
from understudy.spec import BlockSpec, ModelSpec

ARCH = "granitemoe"
# What transformers 5.23 takes where a config.json lacks a key.
DEFAULTS = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "shared_intermediate_size": 0,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}
EXPERT_NAMES = {
    "mlp.router": "block_sparse_moe.router.layer",
    "mlp.experts.*.gate_proj": "block_sparse_moe.input_linear",
    "mlp.experts.*.up_proj": "block_sparse_moe.input_linear",
    "mlp.experts.*.down_proj": "block_sparse_moe.output_linear",
    "mlp.shared_expert.gate_proj": "shared_mlp.input_linear",
    "mlp.shared_expert.up_proj": "shared_mlp.input_linear",
    "mlp.shared_expert.down_proj": "shared_mlp.output_linear",
}


def read_experts(
    config: Config, sizes: Mapping[str, Any], defaults: Mapping[str, int], *, is_shared: bool = True
) -> Experts:
    """What config.json says of mixtures; a shared expert of size 0 is none."""
    shared = config.get("shared_intermediate_size", default=defaults["shared_intermediate_size"])
    return Experts(
        count=config.whole("num_local_experts", default=defaults["num_local_experts"]),
        used=config.whole("num_experts_per_tok", default=defaults["num_experts_per_tok"]),
        inner_size=sizes["intermediate_size"],
        shared_size=config.whole("shared_intermediate_size", default=1)
        if is_shared and shared != 0
        else 0,
    )


def expert_config(experts: Experts) -> dict[str, int]:
    """The inverse of `read_experts`, beside the sizes that every family writes."""
    return {
        "num_local_experts": experts.count,
        "num_experts_per_tok": experts.used,
        "intermediate_size": experts.inner_size,
        "shared_intermediate_size": experts.shared_size,
    }


def gguf_experts(config: Config, arch: str, inner_size: int) -> Experts | None:
    """What a GGUF says of mixtures; None where it has none."""
    if not config.get(f"{arch}.expert_count", default=0):
        return None
    shared = f"{arch}.expert_shared_feed_forward_length"
    return Experts(
        count=config.whole(f"{arch}.expert_count"),
        used=config.whole(f"{arch}.expert_used_count"),
        inner_size=inner_size,
        shared_size=config.whole(shared) if config.get(shared) else 0,
    )


def expert_metadata(arch: str, experts: Experts) -> dict[str, int]:
    """The inverse of `gguf_experts`."""
    keys = {
        f"{arch}.feed_forward_length": experts.inner_size,
        f"{arch}.expert_count": experts.count,
        f"{arch}.expert_used_count": experts.used,
    }
    shared = {f"{arch}.expert_shared_feed_forward_length": experts.shared_size}
    return keys | (shared if experts.shared_size else {})


def spec_of(name: str, values: Mapping[str, Any], where: object) -> ModelSpec:
    config = Config(values, where, HARMLESS_KEYS)
    sizes = common_sizes(config, DEFAULTS)
    config.only("hidden_act", "silu", "swish")
    has_bias = config.flag("attention_bias", False)
    spec = _spec(
        name,
        sizes,
        read_experts(config, sizes, DEFAULTS, is_shared=name == "granitemoeshared"),
        norm_eps=config.norm_eps("rms_norm_eps", 1e-6),
        **read_rope(config, sizes, None),
        tied_embeddings=config.flag("tie_word_embeddings", False),
        qkv_bias=has_bias,
        output_bias=has_bias,
        **read_multipliers(config),
    )
    config.pass_over("mlp_bias", "layer_types", "sliding_window", "use_sliding_window")
    config.finish()
    return sound(spec, where)


def _spec(name: str, sizes: Mapping[str, Any], experts: Experts, **settings: Any) -> ModelSpec:
    return ModelSpec(
        architecture=name,
        **(dict(sizes) | settings),
        norm="rms_norm",
        activation="silu",
        gated=True,
        blocks=(BlockSpec(has_experts=True),) * sizes["num_layers"],
        experts=experts,
    )


def spec_of_gguf(
    metadata: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], where: object
) -> ModelSpec:
    config = Config(metadata, where)
    experts = gguf_experts(config, ARCH, config.whole(f"{ARCH}.feed_forward_length"))
    sizes = gguf_sizes(config, ARCH, shapes, expert_count=experts.count if experts else 0)
    config.only(f"{ARCH}.rope.scaling.finetuned", True)
    settings = {
        "norm_eps": shortest(config.real(f"{ARCH}.attention.layer_norm_rms_epsilon")),
        "rotary_dim": config.whole(f"{ARCH}.rope.dimension_count", default=sizes["head_dim"]),
        "rope_theta": shortest(config.real(f"{ARCH}.rope.freq_base", default=10000.0)),
        **gguf_multipliers(config, ARCH),
    }
    if experts is None:  # llama.cpp reads a plain Granite under this name too
        made = ModelSpec(
            "granite", **sizes, **settings, norm="rms_norm", activation="silu", gated=True
        )
        return sound(made, where)
    name = "granitemoeshared" if experts.shared_size else "granitemoe"
    return sound(_spec(name, sizes | {"mlp_bias": False}, experts, **settings), where)


def config_of(spec: ModelSpec) -> dict[str, Any]:
    assert spec.experts is not None
    return {
        **size_keys(spec),
        **expert_config(spec.experts),
        "hidden_act": "silu",
        "rms_norm_eps": spec.norm_eps,
        "attention_bias": spec.qkv_bias,
        **rope_config(spec),
        **multiplier_config(spec),
    }


def gguf_metadata(spec: ModelSpec) -> dict[str, Any]:
    assert spec.experts is not None
    return {
        **plain_gguf_metadata(ARCH, spec),
        **expert_metadata(ARCH, spec.experts),
        **multiplier_metadata(ARCH, spec),
    }


def _family(name: str, class_name: str) -> Architecture:
    return Architecture(
        name,
        class_name,
        functools.partial(spec_of, name),
        spec_of_gguf,
        config_of,
        gguf_metadata,
        gguf_architecture=ARCH,
        permutes_rope=True,
        folder_names=Naming(names=EXPERT_NAMES),
    )


GRANITE_MOE = _family("granitemoe", "GraniteMoeForCausalLM")
GRANITE_MOE_SHARED = _family("granitemoeshared", "GraniteMoeSharedForCausalLM")
