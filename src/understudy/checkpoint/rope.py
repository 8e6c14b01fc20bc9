"""Rotary settings as configs spell them: top-level keys, `rope_scaling`, or transformers 5's nested `rope_parameters`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.architecture import Config
from understudy.errors import FormatError, UnsupportedError
from understudy.spec import ModelSpec, RopeScaling

_PARTIAL_NAMES = (
    "partial_rotary_factor",
    "rope_percent",
    "rope_pct",
    "rotary_percent",
    "rotary_percentage",
)


def read_rope(
    config: Config, head_dim: int, default_partial: float, default_theta: float
) -> dict[str, Any]:
    """rotary_dim, rope_theta and rope_scaling of a config.

    Raises:
        UnsupportedError: a kind of scaling other than none and llama3.
    """
    nested = config.get("rope_parameters", default={})
    scaling = config.get("rope_scaling", default={})
    if not isinstance(nested, Mapping) or not isinstance(scaling, Mapping):
        raise FormatError("rope_parameters and rope_scaling must be objects", where=config.where)
    inner = Config({**scaling, **nested}, f"{config.where}: rope_parameters")
    kind = inner.get("rope_type", "type", default="default")
    theta = inner.get("rope_theta") or config.real(
        "rope_theta", "rotary_base", default=default_theta
    )
    partial = inner.get(*_PARTIAL_NAMES)
    outer_partial = config.real(*_PARTIAL_NAMES, default=default_partial)
    partial = outer_partial if partial is None else float(partial)
    rope: dict[str, Any] = {
        "rotary_dim": int(head_dim * partial),
        "rope_theta": float(theta),
        "rope_scaling": None,
    }
    if kind == "llama3":
        rope["rope_scaling"] = RopeScaling(
            inner.real("factor"),
            inner.real("low_freq_factor"),
            inner.real("high_freq_factor"),
            inner.whole("original_max_position_embeddings"),
        )
    elif kind not in ("default", "none", None):
        raise UnsupportedError(
            "rotary scaling is not implemented",
            where=config.where,
            expected="default or llama3",
            found=kind,
        )
    inner.finish()
    return rope


def rope_config(spec: ModelSpec) -> dict[str, Any]:
    """The same as config.json keys that transformers 4 and 5 both read."""
    keys: dict[str, Any] = {"rope_theta": spec.rope_theta}
    if spec.rope_scaling is not None:
        keys["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": spec.rope_scaling.factor,
            "low_freq_factor": spec.rope_scaling.low_freq_factor,
            "high_freq_factor": spec.rope_scaling.high_freq_factor,
            "original_max_position_embeddings": spec.rope_scaling.original_max_positions,
        }
    return keys
