"""Mixtures of experts of a Nemotron-H (Nemotron 3 Nano 30B-A3B): in config.json and in GGUF.

Sources: transformers 5.23 `models/nemotron_h` (`NemotronHTopkRouter`, `NemotronHMoE`), llama.cpp
architecture "nemotron_h_moe" (gguf 0.19). Scores are sigmoids; a shared expert is always there.
"""

from __future__ import annotations

from typing import Any

from understudy.checkpoint.architecture import shortest
from understudy.checkpoint.config import Config
from understudy.errors import UnsupportedError
from understudy.experts import Experts
from understudy.spec import ModelSpec

ARCH = "nemotron_h_moe"
FOLDER_NAMES = {
    "mlp.router": "mixer.gate",
    "mlp.router.correction": "mixer.gate.e_score_correction_bias",
    "mlp.experts.*.up_proj": "mixer.experts.*.up_proj",
    "mlp.experts.*.down_proj": "mixer.experts.*.down_proj",
    "mlp.shared_expert.up_proj": "mixer.shared_experts.up_proj",
    "mlp.shared_expert.down_proj": "mixer.shared_experts.down_proj",
}


def read_experts(config: Config) -> Experts:
    """Raises UnsupportedError for experts in a smaller space, or with biases. How many shared ones
    there are (`n_shared_experts`) their size says already."""
    config.only("moe_latent_size")
    config.only("mlp_bias", False)
    return Experts(
        count=config.whole("n_routed_experts", "num_local_experts", default=8),
        used=config.whole("num_experts_per_tok", default=2),
        inner_size=config.whole("moe_intermediate_size", default=7688),
        shared_size=config.whole("moe_shared_expert_intermediate_size", default=7688),
        scoring="sigmoid",
        num_groups=config.whole("n_group", default=1),
        used_groups=config.whole("topk_group", default=1),
        is_normalised=config.flag("norm_topk_prob", True),
        scale=config.positive("routed_scaling_factor", default=1.0),
    )


def expert_config(experts: Experts) -> dict[str, Any]:
    """The inverse of `read_experts`."""
    return {
        "n_routed_experts": experts.count,
        "n_shared_experts": 1,
        "num_experts_per_tok": experts.used,
        "moe_intermediate_size": experts.inner_size,
        "moe_shared_expert_intermediate_size": experts.shared_size,
        "n_group": experts.num_groups,
        "topk_group": experts.used_groups,
        "norm_topk_prob": experts.is_normalised,
        "routed_scaling_factor": experts.scale,
    }


def gguf_experts(config: Config, inner_size: int) -> Experts:
    """`inner_size` where the file does not say it apart."""
    config.only(f"{ARCH}.moe_latent_size", 0)
    groups = config.get(f"{ARCH}.expert_group_count", default=0)
    is_normalised = config.flag(f"{ARCH}.expert_weights_norm", False)
    scale = shortest(config.real(f"{ARCH}.expert_weights_scale", default=1.0))
    return Experts(
        count=config.whole(f"{ARCH}.expert_count"),
        used=config.whole(f"{ARCH}.expert_used_count"),
        inner_size=config.whole(f"{ARCH}.expert_feed_forward_length", default=inner_size),
        shared_size=config.whole(f"{ARCH}.expert_shared_feed_forward_length"),
        scoring="sigmoid",
        num_groups=config.whole(f"{ARCH}.expert_group_count") if groups else 1,
        used_groups=config.whole(f"{ARCH}.expert_group_used_count", default=1) if groups else 1,
        is_normalised=is_normalised,
        scale=scale or 1.0,
    )


def expert_metadata(spec: ModelSpec) -> dict[str, Any]:
    """The inverse of `gguf_experts`.

    Raises:
        UnsupportedError: plain MLPs beside the mixtures, which llama.cpp takes for mixtures too.
    """
    experts = spec.experts
    assert experts is not None
    if any(block.has_mlp and not block.has_experts for block in spec.blocks):
        raise UnsupportedError(
            "llama.cpp has no place for plain MLPs beside mixtures of experts", where=ARCH
        )
    groups = {f"{ARCH}.expert_group_used_count": experts.used_groups}
    return {
        f"{ARCH}.feed_forward_length": [
            experts.inner_size if block.has_experts else 0 for block in spec.blocks
        ],
        f"{ARCH}.expert_count": experts.count,
        f"{ARCH}.expert_used_count": experts.used,
        f"{ARCH}.expert_feed_forward_length": experts.inner_size,
        f"{ARCH}.expert_shared_feed_forward_length": experts.shared_size,
        f"{ARCH}.expert_shared_count": 1,
        f"{ARCH}.expert_weights_norm": experts.is_normalised,
        f"{ARCH}.expert_weights_scale": float(experts.scale),
        f"{ARCH}.expert_group_count": experts.num_groups,
        **(groups if experts.num_groups > 1 else {}),
    }
