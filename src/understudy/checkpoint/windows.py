"""Sliding windows as configs spell them: how many tokens the attention of a layer sees."""

from __future__ import annotations

import dataclasses
from typing import Any

from understudy.checkpoint.config import Config
from understudy.errors import FormatError, UnsupportedError
from understudy.spec import BlockSpec, ModelSpec

KINDS = ("full_attention", "sliding_attention")


def said_window(config: Config, default: int | None) -> Any:
    """`sliding_window`, of which null says that there is none; `default` where it is missing."""
    window = config.get("sliding_window")
    return default if "sliding_window" not in config.values else window


def every_layer(num_layers: int, window: Any, config: Config) -> tuple[BlockSpec, ...]:
    """The same window everywhere; none where it is null."""
    if window is None:
        return ()
    return (BlockSpec(window=checked_window(window, config)),) * num_layers


def reached(blocks: tuple[BlockSpec, ...], max_positions: int) -> tuple[BlockSpec, ...]:
    """The blocks without windows as wide as the context, which no text is longer than."""
    made = tuple(
        dataclasses.replace(block, window=0) if block.window >= max_positions else block
        for block in blocks
    )
    return () if is_plain(made) else made


def read_layer_types(
    config: Config, num_layers: int, default: list[bool], window: Any
) -> tuple[BlockSpec, ...]:
    """Blocks by `layer_types`, where that is absent by `default`: whether a layer has a window.

    Raises:
        UnsupportedError: another kind of attention.
        FormatError: a layer has a window, and nothing says how wide it is.
    """
    kinds = named_kinds(config.get("layer_types"))
    if kinds is None:
        kinds = [KINDS[is_windowed] for is_windowed in default]
    if not is_texts(kinds) or len(kinds) != num_layers or set(kinds) - set(KINDS):
        raise UnsupportedError(
            "layers of another attention are not implemented",
            where=f"{config.where}: layer_types",
            expected=f"{num_layers} of {' or '.join(KINDS)}",
            found=kinds,
        )
    if KINDS[1] not in kinds:
        return ()
    if window is None:
        raise FormatError(
            "layers with a window, and no sliding_window in use",
            where=f"{config.where}: layer_types",
            expected="sliding_window, and use_sliding_window where the architecture has it",
            found=kinds,
        )
    size = checked_window(window, config)
    return tuple(BlockSpec(window=size if kind == KINDS[1] else 0) for kind in kinds)


def named_kinds(kinds: Any) -> Any:
    """`layer_types` with the names of today: transformers 5 renames those of old."""
    old = {"attention": "full_attention", "mamba": "linear_attention"}
    return [old.get(kind, kind) for kind in kinds] if is_texts(kinds) else kinds


def is_texts(kinds: Any) -> bool:
    return isinstance(kinds, list) and all(isinstance(kind, str) for kind in kinds)


def gguf_windows(
    config: Config, arch: str, num_layers: int, period: int = 1
) -> tuple[BlockSpec, ...]:
    """Blocks by a GGUF's `attention.sliding_window`, in the layers that
    `attention.sliding_window_pattern` marks with true, or of which the last of so many has none.

    Args:
        period: where the file has no pattern; 1: all layers have a window.
    """
    window = config.get(f"{arch}.attention.sliding_window") or None
    if window is None:
        return ()
    size, key = checked_window(window, config), f"{arch}.attention.sliding_window_pattern"
    marks = config.get(key, default=period)
    if type(marks) is int:
        marks = _by_period(marks, num_layers)
    if not isinstance(marks, list) or len(marks) != num_layers or set(marks) - {0, 1}:
        raise FormatError(
            "not true or false for each layer",
            where=f"{config.where}: {key}",
            expected=num_layers,
            found=marks,
        )
    return tuple(BlockSpec(window=size if mark else 0) for mark in marks)


def window_metadata(arch: str, spec: ModelSpec, period: int = 1) -> dict[str, Any]:
    """The keys that `gguf_windows` reads: none where no layer has a window.

    Raises:
        UnsupportedError: layers have windows of several widths.
    """
    windows = [spec.block(layer).window for layer in range(spec.num_layers)]
    if len(set(windows) - {0}) > 1:
        raise UnsupportedError("a GGUF has one window for all layers", where=arch, found=windows)
    if not any(windows):
        return {}
    keys: dict[str, Any] = {f"{arch}.attention.sliding_window": max(windows)}
    marks = [window > 0 for window in windows]
    if marks != _by_period(period, spec.num_layers):
        keys[f"{arch}.attention.sliding_window_pattern"] = marks
    return keys


def _by_period(period: int, num_layers: int) -> list[bool]:
    """Whether a layer has a window where the last of every `period` has none."""
    return [period < 2 or (layer + 1) % period > 0 for layer in range(num_layers)]


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
    """The key of a family whose layers all have the same window, or none.

    Raises:
        UnsupportedError: the layers differ.
    """
    windows = [spec.block(layer).window for layer in range(spec.num_layers)]
    if len(set(windows)) > 1:
        raise UnsupportedError(
            "this architecture has one window for all layers",
            where=spec.architecture,
            found=windows,
        )
    return {"sliding_window": windows[0] or None}
