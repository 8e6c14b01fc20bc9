"""Whether a model's head is its embedding again: the stored tensors decide, whatever the config
says.

The rule is that of transformers 5 (`PreTrainedModel.tie_weights`): where the config ties and both
tensors are stored, they are tied only if they are equal; where one of them is stored, it is the
other as well. A config that does not tie is always obeyed.
"""

from __future__ import annotations

import warnings

import numpy as np

from understudy.checkpoint.weights import Weights
from understudy.errors import CheckpointWarning
from understudy.formats.tensor import StoredTensor
from understudy.spec import ModelSpec

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_CHUNK_VALUES = 1 << 22  # values compared at a time


def settle_head(spec: ModelSpec, weights: Weights, where: object) -> ModelSpec:
    """Takes a head that is the embedding again out of `weights`, and says in the spec whether one
    is left.

    Warns (`CheckpointWarning`) when a head of its own is stored though the config ties.
    """
    if not spec.tied_embeddings or HEAD not in weights:
        return spec
    if EMBEDDING not in weights:
        weights.rename(HEAD, EMBEDDING)
    elif are_equal(weights[EMBEDDING], weights[HEAD]):
        weights.remove(HEAD)
    else:
        warnings.warn(
            f"{where}: the config ties head and embedding, but a different {HEAD} is stored; the "
            "stored one is used",
            CheckpointWarning,
            stacklevel=2,
        )
        return spec.replace(tied_embeddings=False)
    return spec


def are_equal(one: StoredTensor, other: StoredTensor) -> bool:
    """Whether two matrices hold the same values; read a few rows at a time, as far as the first
    difference.
    """
    if one.shape != other.shape:
        return False
    if one.format == other.format and one.data.ctypes.data == other.data.ctypes.data:
        return True  # one storage under two names, as torch writes it
    step = max(1, _CHUNK_VALUES // max(1, one.shape[-1]))
    return all(
        _rows_are_equal(one, other, np.arange(begin, min(begin + step, one.shape[0])))
        for begin in range(0, one.shape[0], step)
    )


def _rows_are_equal(one: StoredTensor, other: StoredTensor, rows: np.ndarray) -> bool:
    first, second = one.take_rows(rows), other.take_rows(rows)
    if first.format == second.format and np.array_equal(first.data, second.data):
        return True
    return np.array_equal(first.to_float32(), second.to_float32())
