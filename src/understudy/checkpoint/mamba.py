"""Sizes of Mamba-2 mixers in a GGUF file, and the lists there that say what each layer is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.checkpoint.architecture import shortest
from understudy.checkpoint.config import Config
from understudy.errors import FormatError
from understudy.spec import Mamba2


def gguf_mamba(
    config: Config, arch: str, shapes: Mapping[str, tuple[int, ...]], min_time_step: float
) -> Mamba2:
    """The mixers of a file; `min_time_step` where our own note of it is missing."""
    heads = config.whole(f"{arch}.ssm.time_step_rank")
    groups = config.whole(f"{arch}.ssm.group_count")
    floor = config.real("understudy.min_time_step", default=min_time_step)
    return Mamba2(
        num_heads=heads,
        head_dim=config.whole(f"{arch}.ssm.inner_size") // heads,
        state_size=config.whole(f"{arch}.ssm.state_size"),
        num_groups=groups,
        norm_groups=groups,
        conv_size=config.whole(f"{arch}.ssm.conv_kernel"),
        conv_bias=has_tensor(shapes, "ssm_conv1d.bias"),
        proj_bias=has_tensor(shapes, "ssm_in.bias"),
        min_time_step=shortest(floor),
    )


def mamba_metadata(arch: str, mamba: Mamba2) -> dict[str, Any]:
    """The inverse of `gguf_mamba`."""
    return {
        f"{arch}.ssm.conv_kernel": mamba.conv_size,
        f"{arch}.ssm.inner_size": mamba.inner_size,
        f"{arch}.ssm.state_size": mamba.state_size,
        f"{arch}.ssm.time_step_rank": mamba.num_heads,
        f"{arch}.ssm.group_count": mamba.num_groups,
        "understudy.min_time_step": float(mamba.min_time_step),
    }


def has_tensor(shapes: Mapping[str, tuple[int, ...]], ending: str) -> bool:
    return any(name.endswith(ending) for name in shapes)


def by_layer(config: Config, key: str, num_layers: int) -> list[int]:
    """One number for each layer, of a list or of one number for all."""
    value = config.require(key)
    values = value if isinstance(value, list) else [value] * num_layers
    if len(values) < num_layers or any(type(v) is not int or v < 0 for v in values):
        raise FormatError(
            "not one whole number for each layer",
            where=f"{config.where}: {key}",
            expected=num_layers,
            found=value,
        )
    return values[:num_layers]
