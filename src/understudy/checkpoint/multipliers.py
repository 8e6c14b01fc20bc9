"""Granite's four multipliers, of embedding, residual, attention and logits: in config.json and in
GGUF."""

from __future__ import annotations

from typing import Any

from understudy.checkpoint.architecture import shortest
from understudy.checkpoint.config import Config
from understudy.spec import ModelSpec

_SCALES = {  # config.json: (GGUF, field)
    "embedding_multiplier": ("embedding_scale", "embedding_scale"),
    "residual_multiplier": ("residual_scale", "residual_scale"),
    "attention_multiplier": ("attention.scale", "attention_scale"),
}


def read_multipliers(config: Config) -> dict[str, Any]:
    """Fields of a ModelSpec; logits are divided by `logits_scaling`."""
    scales = {field: config.positive(key, default=1.0) for key, (_, field) in _SCALES.items()}
    return scales | {"logit_scale": 1 / config.positive("logits_scaling", default=1.0)}


def multiplier_config(spec: ModelSpec) -> dict[str, Any]:
    """The inverse of `read_multipliers`."""
    keys = {key: getattr(spec, field) for key, (_, field) in _SCALES.items()}
    keys["attention_multiplier"] = spec.attention_scale or spec.head_dim**-0.5
    return keys | {"logits_scaling": 1 / spec.logit_scale}


def gguf_multipliers(
    config: Config, arch: str, default_logits: float | None = None
) -> dict[str, Any]:
    """Fields of a ModelSpec; in a GGUF 0 says that there is none."""
    found = {
        field: shortest(config.real(f"{arch}.{key}", default=0.0))
        for key, field in _SCALES.values()
    }
    logits = shortest(config.positive(f"{arch}.logit_scale", default=default_logits))
    scales = {field: value or float(field != "attention_scale") for field, value in found.items()}
    return scales | {"logit_scale": 1 / logits}


def multiplier_metadata(arch: str, spec: ModelSpec) -> dict[str, Any]:
    """The inverse of `gguf_multipliers`."""
    keys = {f"{arch}.{key}": float(getattr(spec, field)) for key, field in _SCALES.values()}
    return keys | {f"{arch}.logit_scale": float(1 / spec.logit_scale)}
