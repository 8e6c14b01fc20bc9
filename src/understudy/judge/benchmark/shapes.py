"""Published shapes of models, in which `understudy bench --synthetic NAME` makes random weights."""

from __future__ import annotations

import math

from understudy.errors import UsageError
from understudy.experts import Experts
from understudy.gated_delta import GatedDelta
from understudy.rotary import Llama3Scaling
from understudy.spec import BlockSpec, Mamba2, ModelSpec

_MINITRON_4B = ModelSpec(
    architecture="nemotron",
    num_layers=32,
    hidden_size=3072,
    intermediate_size=9216,
    num_heads=24,
    num_kv_heads=8,
    head_dim=128,
    vocab_size=256000,
    max_positions=4096,
    norm="layer_norm_1p",
    norm_eps=1e-5,
    activation="relu2",
    gated=False,
    rotary_dim=64,
    rope_theta=1e4,
)

_HYBRID_BLOCKS = {
    "M": BlockSpec("mamba2", has_mlp=False),
    "*": BlockSpec("attention", has_mlp=False, rotation="none"),
    "-": BlockSpec("none"),
    "E": BlockSpec("none", has_experts=True),
}

# The published configurations (config.json of each model on the hub).
SHAPES: dict[str, ModelSpec] = {
    "nemotron-mini-4b": _MINITRON_4B,
    # Its vocabulary trimmed to what English, code and calls need.
    "nemotron-mini-4b-64k": _MINITRON_4B.replace(vocab_size=64_000),
    "minitron-8b": _MINITRON_4B.replace(hidden_size=4096, intermediate_size=16384, num_heads=48),
    "llama-3.1-minitron-4b-width": ModelSpec(
        architecture="llama",
        num_layers=32,
        hidden_size=3072,
        intermediate_size=9216,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        vocab_size=128256,
        max_positions=131072,
        norm="rms_norm",
        norm_eps=1e-5,
        activation="silu",
        gated=True,
        rotary_dim=128,
        rope_theta=5e5,
        rope_scaling=Llama3Scaling(8.0, 1.0, 4.0, 8192),
    ),
    "mistral-nemo-minitron-8b": ModelSpec(
        architecture="mistral",
        num_layers=40,
        hidden_size=4096,
        intermediate_size=11520,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        vocab_size=131072,
        max_positions=8192,
        norm="rms_norm",
        norm_eps=1e-5,
        activation="silu",
        gated=True,
        rotary_dim=128,
        rope_theta=1e6,
    ),
    "qwen3-0.6b": ModelSpec(
        architecture="qwen3",
        num_layers=28,
        hidden_size=1024,
        intermediate_size=3072,
        num_heads=16,
        num_kv_heads=8,
        head_dim=128,
        vocab_size=151936,
        max_positions=40960,
        norm="rms_norm",
        norm_eps=1e-6,
        activation="silu",
        gated=True,
        rotary_dim=128,
        rope_theta=1e6,
        qk_norm=True,
        tied_embeddings=True,
    ),
    "qwen3.5-0.8b": ModelSpec(
        architecture="qwen3_5_text",
        num_layers=24,
        hidden_size=1024,
        intermediate_size=3584,
        num_heads=8,
        num_kv_heads=2,
        head_dim=256,
        vocab_size=248320,
        max_positions=262144,
        norm="rms_norm_1p",
        norm_eps=1e-6,
        activation="silu",
        gated=True,
        rotary_dim=64,
        rope_theta=1e7,
        qk_norm=True,
        output_gate=True,
        tied_embeddings=True,
        blocks=(*(BlockSpec("gated_delta"),) * 3, BlockSpec()) * 6,
        gated_delta=GatedDelta(16, 16, 128, 128, 4),
    ),
    "gemma-3-270m": ModelSpec(
        architecture="gemma3_text",
        num_layers=18,
        hidden_size=640,
        intermediate_size=2048,
        num_heads=4,
        num_kv_heads=1,
        head_dim=256,
        vocab_size=262144,
        max_positions=32768,
        norm="rms_norm_1p",
        norm_eps=1e-6,
        activation="gelu_tanh",
        gated=True,
        rotary_dim=256,
        rope_theta=1e6,
        qk_norm=True,
        post_norms=True,
        embedding_scale=math.sqrt(640),
        tied_embeddings=True,
        blocks=(*(BlockSpec(window=512, rotation="local"),) * 5, BlockSpec()) * 3,
    ),
    "nemotron-3-nano-4b": ModelSpec(
        architecture="nemotron_h",
        num_layers=42,
        hidden_size=3136,
        intermediate_size=12544,
        num_heads=40,
        num_kv_heads=8,
        head_dim=128,
        vocab_size=131072,
        max_positions=262144,
        norm="rms_norm",
        norm_eps=1e-5,
        activation="relu2",
        gated=False,
        rotary_dim=0,
        rope_theta=1e4,
        blocks=tuple(_HYBRID_BLOCKS[kind] for kind in "M-M-M-MM-M-M*-M-M*-M-M-M*-M-M-MM*-MMM-M-M-"),
        mamba2=Mamba2(96, 80, 128, 8, 8, 4, min_time_step=0.001),
    ),
    "nemotron-3-nano-30b-a3b": ModelSpec(
        architecture="nemotron_h_moe",
        num_layers=52,
        hidden_size=2688,
        intermediate_size=1856,
        num_heads=32,
        num_kv_heads=2,
        head_dim=128,
        vocab_size=131072,
        max_positions=262144,
        norm="rms_norm",
        norm_eps=1e-5,
        activation="relu2",
        gated=False,
        rotary_dim=0,
        rope_theta=1e4,
        blocks=tuple(
            _HYBRID_BLOCKS[kind] for kind in "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME"
        ),
        mamba2=Mamba2(64, 64, 128, 8, 8, 4, min_time_step=0.001),
        experts=Experts(128, 6, 1856, shared_size=3712, scoring="sigmoid", scale=2.5),
    ),
    "granite-4.0-h-tiny": ModelSpec(
        architecture="granitemoehybrid",
        num_layers=40,
        hidden_size=1536,
        intermediate_size=512,
        num_heads=12,
        num_kv_heads=4,
        head_dim=128,
        vocab_size=100352,
        max_positions=131072,
        norm="rms_norm",
        norm_eps=1e-5,
        activation="silu",
        gated=True,
        rotary_dim=0,
        rope_theta=1e4,
        tied_embeddings=True,
        embedding_scale=12.0,
        residual_scale=0.22,
        attention_scale=0.0078125,
        logit_scale=1 / 6,
        blocks=tuple(
            BlockSpec("attention", rotation="none", has_experts=True)
            if layer in (5, 15, 25, 35)
            else BlockSpec("mamba2", has_experts=True)
            for layer in range(40)
        ),
        mamba2=Mamba2(48, 64, 128, 1, 1, 4),
        experts=Experts(64, 6, 512, shared_size=1024),
    ),
}


def shape_of(name: str, num_layers: int | None = None) -> ModelSpec:
    """The spec behind a name of `SHAPES`, cut to `num_layers` if given.

    Raises:
        UsageError: no such name.
    """
    if name not in SHAPES:
        raise UsageError(
            "no such shape", where="--synthetic", expected=" or ".join(SHAPES), found=name
        )
    spec = SHAPES[name]
    if num_layers is None:
        return spec
    return spec.replace(num_layers=num_layers, blocks=spec.blocks[:num_layers])
