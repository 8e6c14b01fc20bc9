"""Small made-up networks of families whose blocks have options, and whole checkpoints of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from tests.support.checkpoints import SPECS, Weights, random_weights
from understudy.checkpoint.checkpoint import Checkpoint
from understudy.checkpoint.weights import Weights as StoredWeights
from understudy.experts import Experts
from understudy.formats.tensor import StoredTensor
from understudy.gated_delta import GatedDelta
from understudy.rotary import LinearScaling, LongRopeScaling, YarnScaling
from understudy.spec import BlockSpec, Mamba2, ModelSpec

_BASE = SPECS["llama"].replace(num_layers=4, max_positions=512)
_FULL, _LOCAL = BlockSpec(), BlockSpec(window=9, rotation="local")
_GEMMA = _BASE.replace(
    architecture="gemma3_text",
    norm="rms_norm_1p",
    activation="gelu_tanh",
    qk_norm=True,
    post_norms=True,
    embedding_scale=96**0.5,
    tied_embeddings=True,
    num_layers=7,
    blocks=(*(_LOCAL,) * 5, _FULL, _LOCAL),
    rope_theta=1e6,
    norm_eps=1e-6,
)

_MAMBA = BlockSpec("mamba2", has_mlp=False)
_POSITIONLESS = BlockSpec("attention", has_mlp=False, rotation="none")
_MLP = BlockSpec("none", has_mlp=True)
_MIXTURE = BlockSpec("none", has_mlp=True, has_experts=True)
_KINDS = {"M": _MAMBA, "*": _POSITIONLESS, "-": _MLP, "E": _MIXTURE}


def hybrid(pattern: str, **changes: object) -> ModelSpec:
    """A Nemotron-H of this pattern; sizes of the mixers and what else is given are changed."""
    sizes = {field.name for field in dataclasses.fields(Mamba2)}
    own = {key: value for key, value in changes.items() if key in sizes}
    mamba = dataclasses.replace(Mamba2(6, 20, 24, 2, 2, 4, min_time_step=0.001), **own)
    experts = changes.get("experts")
    if isinstance(experts, Experts) and "-" not in pattern:
        changes |= {"intermediate_size": experts.inner_size}  # which no layer has
    return _BASE.replace(
        architecture="nemotron_h_moe" if experts else "nemotron_h",
        num_layers=len(pattern),
        blocks=tuple(_KINDS[kind] for kind in pattern),
        activation="relu2",
        gated=False,
        rotary_dim=0,
        rope_theta=1e4,
        mamba2=mamba,
        **{key: value for key, value in changes.items() if key not in sizes},
    )


_4B = "M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-"
_9B = "M-M-M-MM-M-M-M*-M-M-M*-M-M-M-M*-M-M-M-M*-M-MM-M-M-M-M-M-"
# The patterns of Nemotron 3 Nano 4B and Nano 9B v2, and those that begin or end otherwise.
HYBRIDS: dict[str, ModelSpec] = {
    "4b": hybrid(_4B, hidden_size=48, intermediate_size=80, num_groups=1, norm_groups=1),
    "9b": hybrid(
        _9B, hidden_size=48, intermediate_size=80, num_heads=8, num_groups=8, norm_groups=8
    ),
    "mamba_first": hybrid("M*-M"),
    "attention_first": hybrid("*MM-"),
    "mlp_first": hybrid("-M-M*M-*"),
    "biases": hybrid("M-*M", proj_bias=True, mlp_bias=True),
    "no_conv_bias": hybrid("-M*", conv_bias=False),
    "one_group": hybrid("M*-", num_groups=1, norm_groups=1, state_size=16),
    "odd_heads": hybrid("M*M-", num_heads=5, num_groups=1, norm_groups=1, head_dim=7),
    "wide_heads": hybrid("MM*-", num_heads=2, head_dim=80, num_groups=2, state_size=128),
    "short_taps": hybrid("M-M*", conv_size=2),
    "mamba_alone": hybrid("MMM"),
}
_SIGMOID = Experts(8, 3, 40, shared_size=72, scoring="sigmoid", scale=2.5)
# The pattern of Nemotron 3 Nano 30B-A3B, and mixtures whose experts are chosen otherwise.
NEMOTRON_MIXTURES: dict[str, ModelSpec] = {
    "30b": hybrid(
        "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
        hidden_size=48,
        experts=dataclasses.replace(_SIGMOID, count=16, used=6),
    ),
    "groups": hybrid("ME*E", experts=dataclasses.replace(_SIGMOID, num_groups=4, used_groups=2)),
    "not_normalised": hybrid("EM*E", experts=dataclasses.replace(_SIGMOID, is_normalised=False)),
    "one_of_two": hybrid("*EME", experts=dataclasses.replace(_SIGMOID, count=2, used=1)),
    "all": hybrid("ME*", experts=dataclasses.replace(_SIGMOID, used=8, inner_size=33)),
    "with_mlps": hybrid("M-E*-E", experts=_SIGMOID),
}


_DELTA = BlockSpec("gated_delta")
_DELTAS = {"D": _DELTA, "*": _FULL}


def delta_hybrid(pattern: str, *sizes: int, **changes: object) -> ModelSpec:
    """A Qwen3.5 of this pattern, D for the gated delta rule and * for attention; `sizes` are those
    of `GatedDelta`, in its order."""
    heads = {"head_dim": 24, "rotary_dim": 6} | changes
    return _BASE.replace(
        architecture="qwen3_5_text",
        num_layers=len(pattern),
        blocks=tuple(_DELTAS[kind] for kind in pattern),
        norm="rms_norm_1p",
        norm_eps=1e-6,
        qk_norm=True,
        output_gate=True,
        rope_theta=1e7,
        gated_delta=GatedDelta(*sizes),
        **heads,
    )


# Key heads for as many, twice and three times the value heads, odd numbers and sizes of them,
# patterns that begin or end with each kind.
DELTA_HYBRIDS: dict[str, ModelSpec] = {
    "published": delta_hybrid("DDD*", 4, 2, 16, 16, 4, tied_embeddings=True),
    "two_periods": delta_hybrid("DDD*DDD*", 6, 2, 32, 32, 4),
    "as_many_keys": delta_hybrid("DD*", 3, 3, 16, 16, 4),
    "odd_heads": delta_hybrid("D*D", 9, 3, 7, 11, 4, num_heads=5, num_kv_heads=1),
    "one_key": delta_hybrid("*D", 5, 1, 20, 12, 3),
    "wide_values": delta_hybrid("DDDD", 2, 1, 8, 80, 4),
    "wide_keys": delta_hybrid("*D*", 4, 2, 128, 32, 4, head_dim=40, rotary_dim=10),
    "biases": delta_hybrid("DD*D", 4, 2, 16, 16, 2, qkv_bias=True, output_bias=True),
    "odd_sizes": delta_hybrid("D*", 3, 1, 13, 9, 4, hidden_size=72, intermediate_size=172),
    "yarn": delta_hybrid("D*", 2, 2, 16, 16, 4, rope_scaling=YarnScaling(4.0, 64, 1.1386)),
}


# One entry for each option of a block that a family brings.
FAMILIES: dict[str, ModelSpec] = {
    "qwen3": _BASE.replace(
        architecture="qwen3", qk_norm=True, rope_theta=1e6, head_dim=24, rotary_dim=24
    ),
    "qwen3_windows": _BASE.replace(
        architecture="qwen3",
        qk_norm=True,
        qkv_bias=True,
        output_bias=True,
        tied_embeddings=True,
        blocks=(_FULL, _FULL, BlockSpec(window=40), BlockSpec(window=40)),
    ),
    "smollm3": _BASE.replace(
        architecture="smollm3",
        tied_embeddings=True,
        blocks=(_FULL, _FULL, _FULL, BlockSpec(rotation="none")),
    ),
    "granite": _BASE.replace(
        architecture="granite",
        embedding_scale=3.0,
        residual_scale=0.4,
        attention_scale=0.2,
        logit_scale=0.5,
    ),
    "phi3": _BASE.replace(architecture="phi3", head_dim=12, rotary_dim=6, rope_theta=1e4),
    "phi3_longrope": _BASE.replace(
        architecture="phi3",
        head_dim=12,
        rotary_dim=8,
        rope_scaling=LongRopeScaling((1.0, 1.1, 1.2, 1.5), (1.5, 2.0, 3.0, 6.0), 64, 1.19),
    ),
    "phi3_window": _BASE.replace(
        architecture="phi3",
        head_dim=12,
        rotary_dim=12,
        blocks=(BlockSpec(window=33),) * 4,
    ),
    "gemma3": _GEMMA,
    "gemma3_scaled": _GEMMA.replace(
        num_heads=4,
        num_kv_heads=1,
        head_dim=24,
        rotary_dim=24,
        attention_scale=20**-0.5,
        rope_scaling=LinearScaling(8.0),
        tied_embeddings=False,
    ),
}


FAMILIES["lfm2"] = _BASE.replace(
    architecture="lfm2",
    qk_norm=True,
    head_dim=12,
    rotary_dim=12,
    tied_embeddings=True,
    blocks=(BlockSpec("short_conv"), _FULL, BlockSpec("short_conv"), BlockSpec("short_conv")),
    conv_size=3,
    rope_theta=1e6,
)
FAMILIES["lfm2_biases"] = FAMILIES["lfm2"].replace(conv_bias=True, conv_size=4)
FAMILIES |= {f"nemotron_h_{name}": HYBRIDS[name] for name in ("mlp_first", "wide_heads")}
FAMILIES |= {f"qwen3_5_{name}": DELTA_HYBRIDS[name] for name in ("published", "odd_heads")}
FAMILIES |= {f"nemotron_h_moe_{name}": NEMOTRON_MIXTURES[name] for name in ("groups", "with_mlps")}


_HYBRID = FAMILIES["granite"].replace(
    architecture="granitemoehybrid",
    tied_embeddings=True,
    rotary_dim=0,
    rope_theta=1e4,
    norm_eps=1e-6,
)


def granite_hybrid(pattern: str, **changes: object) -> ModelSpec:
    """A Granite 4 hybrid of `M` and `*` layers (`o`: attention whose heads turn), an MLP behind
    each; sizes of the mixers and what else is given are changed."""
    sizes = {field.name for field in dataclasses.fields(Mamba2)}
    own = {key: value for key, value in changes.items() if key in sizes}
    kinds = {"M": BlockSpec("mamba2"), "*": BlockSpec(rotation="none"), "o": BlockSpec()}
    blocks = tuple(kinds[kind] for kind in pattern)
    experts = changes.get("experts")
    if isinstance(experts, Experts):
        blocks = tuple(dataclasses.replace(block, has_experts=True) for block in blocks)
        changes |= {"intermediate_size": experts.inner_size}  # as the files have it
    return _HYBRID.replace(
        num_layers=len(pattern),
        blocks=blocks,
        mamba2=dataclasses.replace(Mamba2(8, 24, 32, 1, 1, 4), **own) if "M" in pattern else None,
        **{key: value for key, value in changes.items() if key not in sizes},
    )


# Patterns scaled down from Granite 4.0-H-350M (four attention layers of 32) and 1B (of 40).
GRANITE_HYBRIDS: dict[str, ModelSpec] = {
    "350m": granite_hybrid("M" * 10 + "*MM*" + "M" * 3 + "*" + "M" * 9 + "*MMM"),
    "1b": granite_hybrid("MMMMM*MMMMMMMMM*MMMMMMMMM*MMMMMMMMM*MMMM", hidden_size=64, head_dim=16),
    "attention_first": granite_hybrid("*M*", tied_embeddings=False, head_dim=12),
    "turned": granite_hybrid("MoM", rotary_dim=16, rope_theta=5e5),
    "biases": granite_hybrid("M*M", proj_bias=True, qkv_bias=True, output_bias=True),
    "groups": granite_hybrid("MM*", num_groups=4, norm_groups=4, state_size=20, conv_size=2),
    "odd_heads": granite_hybrid("M*", hidden_size=66, num_heads=6),
    "time_steps": granite_hybrid("M*M", min_time_step=0.001, conv_bias=False),
    "attention_alone": granite_hybrid("**"),
    "tiny": granite_hybrid("MMMMM*MMMM", experts=Experts(16, 4, 40, shared_size=72)),
    "experts_alone": granite_hybrid("M*", experts=Experts(6, 2, 33), tied_embeddings=False),
}
_MIXTURES = (BlockSpec(has_experts=True),) * 4
GRANITE_MIXTURES: dict[str, ModelSpec] = {
    "granitemoe": FAMILIES["granite"].replace(
        architecture="granitemoe", blocks=_MIXTURES, experts=Experts(8, 2, 48), intermediate_size=48
    ),
    "granitemoe_many": FAMILIES["granite"].replace(
        architecture="granitemoe",
        blocks=_MIXTURES,
        experts=Experts(40, 8, 17),
        intermediate_size=17,
        qkv_bias=True,
        output_bias=True,
    ),
    "granitemoeshared": FAMILIES["granite"].replace(
        architecture="granitemoeshared",
        blocks=_MIXTURES,
        experts=Experts(4, 4, 24, shared_size=56),
        intermediate_size=24,
        tied_embeddings=True,
    ),
}
for _name, _spec in GRANITE_HYBRIDS.items():
    if _spec.mamba2 is not None:  # transformers knows mixers of twice the hidden size alone
        _heads = _spec.mamba2.num_heads
        _mixers = dataclasses.replace(_spec.mamba2, head_dim=2 * _spec.hidden_size // _heads)
        GRANITE_HYBRIDS[_name] = _spec.replace(mamba2=_mixers)
FAMILIES |= {f"granite_hybrid_{name}": GRANITE_HYBRIDS[name] for name in ("turned", "tiny")}
FAMILIES |= GRANITE_MIXTURES
_QWEN = FAMILIES["qwen3"].replace(architecture="qwen3_moe", experts=Experts(8, 2, 48))
QWEN_MIXTURES: dict[str, ModelSpec] = {
    "qwen3_moe": _QWEN.replace(blocks=_MIXTURES, intermediate_size=48),
    "qwen3_moe_mlps_between": _QWEN.replace(
        blocks=(BlockSpec(has_experts=True), BlockSpec()) * 2, tied_embeddings=True
    ),
    "qwen3_moe_not_normalised": _QWEN.replace(
        blocks=(BlockSpec(window=33, has_experts=True),) * 4,
        experts=Experts(16, 8, 20, is_normalised=False),
        intermediate_size=20,
        qkv_bias=True,
        output_bias=True,
    ),
}
FAMILIES |= QWEN_MIXTURES
_LIQUID = Experts(8, 3, 40, scoring="sigmoid")
_LIQUID_BLOCKS = ("short_conv", "attention", "short_conv", "attention")
LIQUID_MIXTURES: dict[str, ModelSpec] = {
    "lfm2_moe": FAMILIES["lfm2"].replace(
        architecture="lfm2_moe",
        blocks=tuple(BlockSpec(kind, has_experts=i > 0) for i, kind in enumerate(_LIQUID_BLOCKS)),
        experts=_LIQUID,
    ),
    "lfm2_moe_uncorrected": FAMILIES["lfm2_biases"].replace(
        architecture="lfm2_moe",
        blocks=tuple(BlockSpec(kind, has_experts=True) for kind in _LIQUID_BLOCKS),
        experts=dataclasses.replace(_LIQUID, has_correction=False, is_normalised=False, scale=0.5),
    ),
}
FAMILIES |= LIQUID_MIXTURES


def calm_weights(spec: ModelSpec, seed: int = 0) -> Weights:
    """Random weights whose layers add less to the stream the more of them there are: or the
    roundings of two programs would grow apart from layer to layer."""
    weights = random_weights(spec, seed)
    for name in weights:
        if name.endswith(("down_proj.weight", "o_proj.weight", "out_proj.weight")):
            weights[name] *= np.float32(spec.num_layers**-0.5)
    return weights


def made_checkpoint(spec: ModelSpec, weights: Weights | None = None) -> Checkpoint:
    """A checkpoint without a tokenizer, in float32; random weights where none are given."""
    weights = random_weights(spec) if weights is None else weights
    stored = {name: StoredTensor.of(name, np.asarray(w)) for name, w in weights.items()}
    ids = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    return Checkpoint(spec, StoredWeights(stored), None, Path("made-up"), ids)
