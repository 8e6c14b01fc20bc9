"""The order of value heads in llama.cpp's files of gated delta mixers, into our order and back.

Hugging Face has the value heads of a key head side by side: 0a 0b 1a 1b. llama.cpp has the first of
every key head before the second of each (`_LinearAttentionVReorderBase` of its converter): 0a 1a 0b
1b. So rows, channels and columns that belong to value heads trade places.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from understudy.formats import q3
from understudy.formats.k_blocks import finer_format, to_finer
from understudy.formats.tensor import BLOCKS, StoredTensor
from understudy.gated_delta import GatedDelta
from understudy.spec import ModelSpec

Change = Callable[[StoredTensor], StoredTensor]
MIXER = ".linear_attn."
_WHOLE_ROWS = ("in_proj_z.weight", "in_proj_a.weight", "in_proj_b.weight", "A_log", "dt_bias")


def reordering(spec: ModelSpec, name: str, *, is_reading: bool) -> Change | None:
    """What brings a tensor's value heads from one order into the other; None where nothing
    changes."""
    delta = spec.gated_delta
    if delta is None or delta.group_size == 1 or MIXER not in name:
        return None
    part = name.partition(MIXER)[2]
    heads = _head_order(delta, is_reading=is_reading)
    if part == "out_proj.weight":
        return lambda tensor: _take_columns(tensor, heads, delta.value_dim)
    if part in ("in_proj_qkv.weight", "conv1d.weight"):
        before = np.arange(2 * delta.key_size)
        rows = np.concatenate([before, 2 * delta.key_size + _rows(heads, delta.value_dim)])
    elif part in _WHOLE_ROWS:
        rows = _rows(heads, delta.value_dim if part == "in_proj_z.weight" else 1)
    else:
        return None
    return lambda tensor: tensor.take_rows(rows)


def written_format(spec: ModelSpec, name: str, format: str) -> str:
    """The format in which a tensor of blocks can be written in the other order: blocks of several
    heads give way to those of 32."""
    is_column = name.endswith(f"{MIXER}out_proj.weight")
    delta = spec.gated_delta
    if not is_column or delta is None or delta.group_size == 1:
        return format
    return finer_format(format) if delta.value_dim % BLOCKS[format][0] else format


def _head_order(delta: GatedDelta, *, is_reading: bool) -> NDArray[np.intp]:
    """For each head of the wanted order its place in the other."""
    ours = np.arange(delta.num_heads).reshape(delta.num_key_heads, delta.group_size)
    theirs = ours.T.reshape(-1)
    return np.argsort(theirs) if is_reading else theirs


def _rows(heads: NDArray[np.intp], size: int) -> NDArray[np.intp]:
    return (heads[:, None] * size + np.arange(size)).reshape(-1)


def _take_columns(tensor: StoredTensor, heads: NDArray[np.intp], head_dim: int) -> StoredTensor:
    """The heads of every row in another order; blocks stay whole where they lie inside a head."""
    if head_dim % BLOCKS[tensor.format][0]:
        tensor = to_finer(tensor)
    if head_dim % BLOCKS[tensor.format][0]:
        tensor = StoredTensor.of(tensor.name, tensor.to_float32())
    if tensor.format == q3.NAME:  # a row's groups have a scale and a header together
        groups = _rows(heads, head_dim // q3.GROUP)
        data = q3.take_groups(tensor.data, tensor.shape[-1], groups)
    else:
        data = tensor.data.reshape(tensor.shape[0], len(heads), -1)[:, heads].reshape(-1)
    return StoredTensor(tensor.name, tensor.shape, tensor.format, data)
