"""Rotary settings as configs spell them: top-level keys, `rope_scaling`, or transformers 5's nested
`rope_parameters`.

The rule is that of transformers 5.24 (`RotaryEmbeddingConfigMixin`): inside before outside, one
default per missing key, a partial factor only where the architecture has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from understudy.checkpoint.config import Config
from understudy.errors import FormatError, UnsupportedError
from understudy.rotary import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeScaling,
    YarnScaling,
)
from understudy.spec import ModelSpec

_PARTIAL = "partial_rotary_factor"
# What Megatron's conversions call it, which are Nemotrons; transformers does not read these.
MEGATRON_PARTIAL = ("rope_percent", "rope_pct", "rotary_percent", "rotary_percentage")


def read_rope(
    config: Config,
    sizes: Mapping[str, Any],
    default_partial: float | None,
    *,
    default_theta: float = 10000.0,
    partial_names: tuple[str, ...] = (_PARTIAL,),
) -> dict[str, Any]:
    """rotary_dim, rope_theta and rope_scaling of a config.

    Args:
        sizes: `head_dim` and `max_positions`.
        default_partial: the share of a head that turns; None for an architecture whose heads turn
            whole, whatever a partial factor says (transformers reads none there).
        default_theta: the architecture's base where no key says another.
        partial_names: the keys that say how much of a head turns.

    Raises:
        FormatError: a block that is no object, or a value of a wrong type.
        UnsupportedError: a kind of scaling that is not known, or a partial factor where none can
        be.
    """
    parts = {name: config.get(name, default={}) for name in ("rope_parameters", "rope_scaling")}
    if not all(isinstance(block, Mapping) for block in parts.values()):
        raise FormatError("rope_parameters and rope_scaling must be objects", where=config.where)
    reader = _Reader(config, sizes, default_partial, default_theta, partial_names)
    found = {name: reader.read(name, block) for name, block in parts.items() if block}
    if not found:
        return reader.read("rope_parameters", {})
    rope = found.get("rope_scaling", found.get("rope_parameters"))
    assert rope is not None
    if any(other != rope for other in found.values()):
        config.warn("rope_parameters and rope_scaling disagree; rope_scaling counts")
    return rope


class _Reader:
    """What stands beside a block of rotary settings, and is overruled by what stands in it."""

    def __init__(
        self,
        config: Config,
        sizes: Mapping[str, Any],
        default_partial: float | None,
        default_theta: float,
        partial_names: tuple[str, ...],
    ) -> None:
        self.config, self.sizes, self.default_partial = config, sizes, default_partial
        self.partial_names = partial_names
        self.theta = config.real("rope_theta", "rotary_base", default=default_theta)
        self.has_theta = any(
            config.values.get(n) is not None for n in ("rope_theta", "rotary_base")
        )
        config.pass_over(*(name for name in MEGATRON_PARTIAL if name not in partial_names))
        self.partial = config.get(*partial_names)
        self.original = config.get("original_max_position_embeddings")

    def read(self, name: str, block: Mapping[str, Any]) -> dict[str, Any]:
        inner = Config(block, f"{self.config.where}: {name}")
        old = inner.get("type", default="default")
        kind = inner.get("rope_type", default=old)
        if inner.get("type", default=kind) != kind:
            inner.warn(f"rope_type {kind} counts, not the type {old} beside it")
        theta = inner.real("rope_theta", default=self.theta)
        if self.has_theta and theta != self.theta:
            inner.warn(f"rope_theta {theta:g} counts, not the {self.theta:g} beside it")
        make = _KINDS.get(kind) if isinstance(kind, str) else None
        if make is None:
            raise UnsupportedError(
                "rotary scaling is not implemented",
                where=inner.where,
                expected=" ".join(_KINDS),
                found=kind,
            )
        partial = self._partial(inner, is_scaled=kind not in ("default", "none"))
        scaling = make(inner, self.sizes["max_positions"], self.original)
        inner.finish_with_warning()
        check_base(scaling, theta, inner.where)
        rotary_dim = int(self.sizes["head_dim"] * partial)
        _check_factors(scaling, rotary_dim, inner.where)
        return {"rotary_dim": rotary_dim, "rope_theta": theta, "rope_scaling": scaling}

    def _partial(self, inner: Config, is_scaled: bool) -> float:
        found = inner.get(*self.partial_names, default=self.partial)
        if found is not None and (isinstance(found, bool) or not isinstance(found, int | float)):
            raise FormatError("not a number", where=f"{inner.where}: {_PARTIAL}", found=found)
        if self.default_partial is not None:
            return self.default_partial if found is None else float(found)
        if found not in (None, 1) and is_scaled:
            raise UnsupportedError(
                "heads of this architecture turn whole, and rotary scaling for a part of them "
                "fits none",
                where=f"{inner.where}: {_PARTIAL}",
                found=found,
            )
        if found not in (None, 1):
            inner.warn(f"{_PARTIAL} {found} is not read: heads of this architecture turn whole")
        return 1.0


def check_base(scaling: RopeScaling | None, theta: float, where: object) -> None:
    """YaRN asks for the pair that turns so many times, which there is only where turns get
    slower.
    """
    if isinstance(scaling, YarnScaling) and not 1 < theta < float("inf"):
        raise FormatError("YaRN needs a rope_theta above 1", where=where, found=theta)


def _check_factors(scaling: RopeScaling | None, rotary_dim: int, where: object) -> None:
    if isinstance(scaling, LongRopeScaling):
        for factors in (scaling.short_factors, scaling.long_factors):
            if len(factors) != rotary_dim // 2:
                raise FormatError(
                    "wrong number of rotary factors",
                    where=where,
                    expected=rotary_dim // 2,
                    found=len(factors),
                )


def _original(inner: Config, max_positions: int, beside: Any) -> int:
    """The context that a model was trained on; transformers lets the key beside the block overrule
    the one in it.
    """
    own = inner.whole("original_max_position_embeddings", default=max_positions)
    return own if beside is None else Config({"o": beside}, inner.where).whole("o")


def _none(inner: Config, max_positions: int, original: Any) -> None:
    inner.seen.add("original_max_position_embeddings")


def _linear(inner: Config, max_positions: int, original: Any) -> RopeScaling | None:
    factor = inner.positive("factor")
    return None if factor == 1 else LinearScaling(factor)


def _dynamic(inner: Config, max_positions: int, original: Any) -> RopeScaling:
    inner.seen.add("original_max_position_embeddings")
    return DynamicScaling(inner.positive("factor"), max_positions)


def _llama3(inner: Config, max_positions: int, original: Any) -> RopeScaling:
    low, high = inner.positive("low_freq_factor"), inner.positive("high_freq_factor")
    if high <= low:
        raise FormatError(
            "high_freq_factor must be above low_freq_factor", where=inner.where, found=(low, high)
        )
    trained = _original(inner, max_positions, original)
    return Llama3Scaling(inner.positive("factor"), low, high, trained)


def _yarn(inner: Config, max_positions: int, original: Any) -> RopeScaling:
    trained = _original(inner, max_positions, original)
    factor = inner.positive("factor", default=max_positions / trained)
    mscale, all_dim = inner.real("mscale", default=0.0), inner.real("mscale_all_dim", default=0.0)
    attention = inner.get("attention_factor")
    if attention is None and mscale and all_dim:
        attention = yarn_mscale(factor, mscale) / yarn_mscale(factor, all_dim)
    return YarnScaling(
        factor,
        trained,
        yarn_mscale(factor)
        if attention is None
        else inner.real("attention_factor", default=attention),
        _turns(inner, "beta_fast", 32.0),
        _turns(inner, "beta_slow", 1.0),
        inner.flag("truncate", True),
    )


def _turns(inner: Config, name: str, default: float) -> float:
    """A number of turns; 0 and null mean the default, as in transformers."""
    return inner.positive(name) if inner.get(name) else default


def yarn_mscale(factor: float, mscale: float = 1.0) -> float:
    """What attention is multiplied by where a context is stretched by `factor` (YaRN, section
    3.4).
    """
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _longrope(inner: Config, max_positions: int, original: Any) -> RopeScaling:
    trained = _original(inner, max_positions, original)
    factor = inner.positive("factor", default=max_positions / trained)
    default = 1.0
    if factor > 1 and trained > 1:
        default = math.sqrt(1 + math.log(factor) / math.log(trained))
    return LongRopeScaling(
        inner.reals("short_factor"),
        inner.reals("long_factor"),
        trained,
        inner.real("attention_factor", default=default),
    )


_KINDS: dict[str, Callable[[Config, int, Any], RopeScaling | None]] = {
    "default": _none,
    "none": _none,
    "linear": _linear,
    "dynamic": _dynamic,
    "yarn": _yarn,
    "longrope": _longrope,
    "llama3": _llama3,
}


def rope_config(spec: ModelSpec) -> dict[str, Any]:
    """The same as config.json keys that transformers 4 and 5 both read."""
    keys: dict[str, Any] = {"rope_theta": spec.rope_theta}
    if spec.rope_scaling is not None:
        keys["rope_scaling"] = block_of_scaling(spec.rope_scaling)
    return keys


def block_of_scaling(scaling: RopeScaling) -> dict[str, Any]:
    """The inverse of reading: the object under `rope_scaling`."""
    match scaling:
        case LinearScaling(factor):
            return {"rope_type": "linear", "factor": factor}
        case DynamicScaling(factor, _):
            return {"rope_type": "dynamic", "factor": factor}
        case Llama3Scaling(factor, low, high, original):
            block: dict[str, Any] = {"rope_type": "llama3", "factor": factor}
            block |= {"low_freq_factor": low, "high_freq_factor": high}
        case YarnScaling(factor, original, attention, fast, slow, truncate):
            block = {"rope_type": "yarn", "factor": factor, "attention_factor": attention}
            block |= {"beta_fast": fast, "beta_slow": slow, "truncate": truncate}
        case LongRopeScaling(short, long, original, attention):
            block = {"rope_type": "longrope", "attention_factor": attention, "factor": 1.0}
            block |= {"short_factor": list(short), "long_factor": list(long)}
    return block | {"original_max_position_embeddings": original}
