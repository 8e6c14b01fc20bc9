"""Sliding windows as configs spell them: how many tokens the attention of a layer sees."""

from __future__ import annotations

from typing import Any

from understudy.checkpoint.config import Config
from understudy.errors import FormatError, UnsupportedError
from understudy.spec import BlockSpec, ModelSpec

KINDS = ("full_attention", "sliding_attention")


def every_layer(num_layers: int, window: Any, config: Config) -> tuple[BlockSpec, ...]:
    """The same window everywhere; none where it is null or 0."""
    if window in (None, 0):
        return ()
    return (BlockSpec(window=checked_window(window, config)),) * num_layers


def read_layer_types(
    config: Config,
    num_layers: int,
    default: list[bool],
    *,
    window_default: int | None = None,
) -> tuple[BlockSpec, ...]:
    """Blocks by `layer_types`, where that is absent by `default`: whether a layer has a window."""
    kinds, window = config.get("layer_types"), config.get("sliding_window", default=window_default)
    if kinds is None:
        kinds = [KINDS[is_windowed] for is_windowed in default]
    if not isinstance(kinds, list) or len(kinds) != num_layers or set(kinds) - set(KINDS):
        raise UnsupportedError(
            "layers of another attention are not implemented",
            where=f"{config.where}: layer_types",
            expected=f"{num_layers} of {' or '.join(KINDS)}",
            found=kinds,
        )
    if KINDS[1] not in kinds or window is None:
        return ()
    size = checked_window(window, config)
    return tuple(BlockSpec(window=size if kind == KINDS[1] else 0) for kind in kinds)


def without_window(config: Config) -> Config:
    """For a family whose blocks have windows: the sizes of a GGUF as if there were none."""
    values = {k: v for k, v in config.values.items() if not k.endswith("attention.sliding_window")}
    return Config(values, config.where, config.harmless)


def checked_window(window: Any, config: Config) -> int:
    if type(window) is not int or window <= 0:
        raise FormatError(
            "not a positive whole number", where=f"{config.where}: sliding_window", found=window
        )
    return window


def is_plain(blocks: tuple[BlockSpec, ...]) -> bool:
    return all(block == BlockSpec() for block in blocks)


def layer_types(spec: ModelSpec) -> dict[str, Any]:
    """The keys of config.json that `read_layer_types` reads."""
    windows = [spec.block(layer).window for layer in range(spec.num_layers)]
    if not any(windows):
        return {"use_sliding_window": False, "sliding_window": None}
    return {
        "use_sliding_window": True,
        "sliding_window": max(windows),
        "max_window_layers": next(i for i, window in enumerate(windows) if window),
        "layer_types": [KINDS[window > 0] for window in windows],
    }


def plain_window_config(spec: ModelSpec) -> dict[str, Any]:
    return {"sliding_window": spec.block(0).window or None}
