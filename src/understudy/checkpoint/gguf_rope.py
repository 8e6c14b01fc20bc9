"""Rotary scaling in a GGUF: keys and tensors as llama.cpp reads them (`llama_model::load_hparams`,
`llama_context`), and back.

llama.cpp turns pair i by position * f_i / d_i / factor, where `factor` is `rope.scaling.factor`,
else the older `rope.scale_linear`, unless `rope.scaling.type` is "none" (a missing type is
"linear"), and d_i are `rope_freqs.weight`, or for "longrope" `rope_factors_short.weight` and
`rope_factors_long.weight`. "yarn" blends with its own ramp. `rope.scaling.attn_factor` multiplies
sines and cosines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.checkpoint.config import Config
from understudy.checkpoint.rope import block_of_scaling, check_base, read_rope, yarn_mscale
from understudy.errors import FormatError, InputError, UnsupportedError
from understudy.rotary import (
    DynamicScaling,
    LinearScaling,
    Llama3Scaling,
    LongRopeScaling,
    RopeScaling,
    YarnScaling,
    frequencies,
    plain_frequencies,
)
from understudy.spec import ModelSpec

Factors = NDArray[np.float64]  # (rotary_dim / 2,)
TENSORS = ("rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight")
NOTE = "understudy.rope_scaling"  # our writer's: the settings behind the factors
# Architectures for which llama.cpp reads factors, whatever they come from.
_WITH_FACTORS = ("llama", "phi3", "granite", "smollm3", "qwen3", "granitemoe")
# Keys that llama.cpp reads for other architectures only, with the values that say nothing.
_UNREAD = {
    "yarn_ext_factor": (-1.0, 1.0),
    "yarn_attn_factor": (1.0,),
    "yarn_beta_fast": (32.0,),
    "yarn_beta_slow": (1.0,),
    "yarn_log_multiplier": (0.0,),
    "alpha": (0.0,),
}


def factors_of(spec: ModelSpec, scaling: RopeScaling | None, num_positions: int) -> Factors:
    """What a scaling divides each plain frequency by in a text of that length."""
    plain = plain_frequencies(spec.rotary_dim, spec.rope_theta)
    scaled = frequencies(spec.rotary_dim, spec.rope_theta, scaling, num_positions)
    factors: Factors = np.asarray(plain) / np.asarray(scaled)
    return factors


def read_gguf_rope(
    arch: str,
    metadata: Mapping[str, Any],
    tensors: Mapping[str, NDArray[np.float32]],
    spec: ModelSpec,
    where: object,
) -> RopeScaling | None:
    """The scaling of a GGUF file.

    Args:
        tensors: those of `TENSORS` that the file has.

    Raises:
        FormatError: a value of a wrong type, or factors that do not fit the heads.
        UnsupportedError: a type that llama.cpp does not know.
    """
    config = Config({k.removeprefix(f"{arch}.rope."): v for k, v in metadata.items()}, where)
    for key, values in _UNREAD.items():
        if (found := config.get(f"scaling.{key}")) is not None and found not in values:
            config.warn(f"{arch}.rope.scaling.{key} {found} is not read, as in llama.cpp")
    kind = config.get("scaling.type", default="linear")
    config.only("scaling.type", "none", "linear", "yarn", "longrope")
    factor = config.real("scaling.factor", default=config.real("scale_linear", default=0.0)) or 1.0
    if kind == "none":
        factor = 1.0
    if not 0 < factor < float("inf"):
        raise FormatError(
            "not a positive number", where=f"{where}: rope.scaling.factor", found=factor
        )
    context = config.whole(f"{arch}.context_length", default=spec.max_positions)
    original = config.whole("scaling.original_context_length", default=context)
    attention = config.real("scaling.attn_factor", default=1.0)
    has_both = kind == "longrope" or TENSORS[1] in tensors  # Phi's files name no type
    names = TENSORS[1:] if has_both else (TENSORS[0], TENSORS[0])
    short, long = (_checked(tensors.get(name), name, spec, where) for name in names)
    if kind == "yarn":
        yarn = YarnScaling(factor, original, yarn_mscale(factor) * attention)
        check_base(yarn, spec.rope_theta, where)
        if TENSORS[0] not in tensors:
            return _noted(yarn, metadata, spec, where)
        ramp = factors_of(spec, yarn, 1)
        short, long, attention = short * ramp, long * ramp, yarn.attention_factor
    else:
        short, long = short * factor, long * factor
    made = LongRopeScaling(tuple(short.tolist()), tuple(long.tolist()), original, attention)
    return _noted(made, metadata, spec, where)


def _checked(
    factors: NDArray[np.float32] | None, name: str, spec: ModelSpec, where: object
) -> Factors:
    size = spec.rotary_dim // 2
    if factors is None:
        return np.ones(size)
    if factors.shape != (size,):
        raise FormatError(
            "tensor has the wrong shape",
            where=f"{where}: {name}",
            expected=(size,),
            found=factors.shape,
        )
    if not (np.isfinite(factors) & (factors > 0)).all():
        raise FormatError("rotary factors must be positive numbers", where=f"{where}: {name}")
    return factors.astype(np.float64)


def _noted(
    made: RopeScaling, metadata: Mapping[str, Any], spec: ModelSpec, where: object
) -> RopeScaling | None:
    """The plainest scaling that turns as `made` does: the one our writer noted, none, a known kind,
    or `made` itself.
    """
    noted = _note(metadata.get(NOTE), spec, where)
    candidates = [*([] if noted is None else [noted]), None, *_likely(made, spec)]
    return next((c for c in candidates if _is_same(c, made, spec)), made)


def _is_same(one: RopeScaling | None, other: RopeScaling, spec: ModelSpec) -> bool:
    mine = 1.0 if one is None else one.attention_factor
    return bool(
        np.isclose(mine, other.attention_factor, rtol=1e-5)
        and all(
            np.allclose(factors_of(spec, one, length), factors_of(spec, other, length), rtol=1e-4)
            for length in (1, spec.max_positions)
        )
    )


def _note(note: Any, spec: ModelSpec, where: object) -> RopeScaling | None:
    """What our writer noted; believed only if it turns as the file says."""
    if isinstance(note, list):  # the form of earlier versions: Llama 3's four settings
        keys = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        block: Any = {"rope_type": "llama3", **dict(zip(keys, note, strict=False))}
        block[keys[3]] = int(block.get(keys[3], 0) or 0)
    else:
        try:
            block = json.loads(note) if isinstance(note, str) else None
        except ValueError:
            return None
    sizes = {"head_dim": spec.rotary_dim, "max_positions": spec.max_positions}
    try:
        found = read_rope(Config({"rope_scaling": block or {}}, where), sizes, 1.0)["rope_scaling"]
        return found if isinstance(found, RopeScaling) else None
    except InputError:
        return None


def _likely(made: RopeScaling, spec: ModelSpec) -> list[RopeScaling]:
    """Scalings that are often behind factors: linear, and Llama 3's by its published settings or by
    a fit.
    """
    factors = factors_of(spec, made, 1)
    top = float(factors.max(initial=1.0))
    found: list[RopeScaling] = [LinearScaling(top)]
    found += [Llama3Scaling(f, 1.0, 4.0, n) for f in (8.0, 32.0, top) for n in (8192, 4096)]
    fitted = _fitted_llama3(factors, spec)
    return found if fitted is None else [*found, fitted]


def _fitted_llama3(factors: Factors, spec: ModelSpec) -> Llama3Scaling | None:
    """Settings from the blended band, where 1 / factor is a line over 1 / wavelength; low is set to
    1, for only ratios matter."""
    plain = np.asarray(plain_frequencies(spec.rotary_dim, spec.rope_theta))
    top = float(factors.max(initial=1.0))
    blended = (factors > 1.0001) & (factors < top * 0.9999)
    if blended.sum() < 2 or top <= 1:
        return None
    # From 0 at `low` to 1 at `high`.
    share = (1 / factors[blended] - 1 / top) / (1 - 1 / top)
    slope, offset = np.polyfit(plain[blended] / (2 * np.pi), share, 1)
    if not offset < 0 < slope:
        return None
    high = 1 - 1 / offset
    original = slope * (high - 1)
    if not 1 <= original < 1 << 31:
        return None
    return Llama3Scaling(top, 1.0, float(high), round(float(original)))


def gguf_rope(
    arch: str, spec: ModelSpec, notes: list[str]
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Keys and tensors with which llama.cpp turns as the spec says.

    Args:
        notes: what is not the same is added in words.

    Raises:
        UnsupportedError: llama.cpp has no place for it.
    """
    scaling, prefix = spec.rope_scaling, f"{arch}.rope.scaling."
    if scaling is None:
        return ({f"{prefix}type": "none"} if arch == "nemotron" else {}), {}
    note = {NOTE: json.dumps(block_of_scaling(scaling))}
    match scaling:
        case DynamicScaling():
            notes.append(
                f"dynamic rotary scaling begins beyond {scaling.original_max_positions} tokens; "
                "a GGUF has no place for it and holds the model up to there"
            )
            return {f"{prefix}type": "none", **note}, {}
        case LinearScaling(factor):
            return {f"{prefix}type": "linear", f"{prefix}factor": factor, **note}, {}
        case YarnScaling(beta_fast=32.0, beta_slow=1.0, truncate=True):
            keys: dict[str, Any] = {f"{prefix}type": "yarn", f"{prefix}factor": scaling.factor}
            keys[f"{prefix}original_context_length"] = scaling.original_max_positions
            share = scaling.attention_factor / yarn_mscale(scaling.factor)
            return keys | note | _attention(prefix, share), {}
        case _:
            if arch in _WITH_FACTORS:
                keys, tensors = _as_factors(prefix, scaling, spec)
                return keys | note, tensors
    raise UnsupportedError(
        "GGUF readers know this rotary scaling only for Llama shapes",
        where="rope_scaling",
        found=arch,
    )


def _attention(prefix: str, factor: float) -> dict[str, Any]:
    return {} if abs(factor - 1) < 1e-7 else {f"{prefix}attn_factor": float(factor)}


def _as_factors(
    prefix: str, scaling: RopeScaling, spec: ModelSpec
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Any scaling as a divisor for each frequency, which llama.cpp reads for the architecture
    "llama".
    """
    short, long = (
        factors_of(spec, scaling, length).astype(np.float32) for length in (1, spec.max_positions)
    )
    keys = _attention(prefix, scaling.attention_factor)
    if not isinstance(scaling, LongRopeScaling) or np.array_equal(short, long):
        return keys, {TENSORS[0]: short}
    keys |= {
        f"{prefix}type": "longrope",
        f"{prefix}original_context_length": scaling.original_max_positions,
    }
    return keys, {TENSORS[1]: short, TENSORS[2]: long}
