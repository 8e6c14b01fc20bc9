"""Which experts a token meets, and with what weights: the definition that the core is held to."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.experts import Experts

Array = NDArray[np.floating[Any]]


def route(experts: Experts, logits: Array, correction: Array | None) -> Array:
    """The weight of every expert for every token, 0 of those it does not meet.

    Args:
        logits: what the router gives, (tokens, experts).
        correction: (experts,), of sigmoid scores.
    """
    scores = _sigmoid(logits) if experts.scoring == "sigmoid" else _softmax(logits)
    chosen = choose(experts, scores if correction is None else scores + correction)
    weights: Array = np.where(chosen, scores, 0).astype(logits.dtype)
    if experts.is_normalised:
        weights = weights / (weights.sum(axis=1, keepdims=True) + weights.dtype.type(1e-20))
    return weights * weights.dtype.type(experts.scale)


def choose(experts: Experts, scores: Array) -> NDArray[np.bool_]:
    """The best `used` experts of the best `used_groups` groups, (tokens, experts); of two alike the
    first."""
    groups = scores.reshape(len(scores), experts.num_groups, -1)
    if experts.num_groups > 1:
        merit = np.sort(groups, axis=2)[:, :, -2:].sum(axis=2)
        groups = np.where(_best(merit, experts.used_groups)[:, :, None], groups, -np.inf)
    return _best(groups.reshape(scores.shape), experts.used)


def _best(scores: Array, number: int) -> NDArray[np.bool_]:
    order = np.argsort(-scores, axis=1, kind="stable")[:, :number]
    chosen = np.zeros(scores.shape, bool)
    np.put_along_axis(chosen, order, True, axis=1)
    return chosen


def _sigmoid(x: Array) -> Array:
    with np.errstate(over="ignore"):
        y: Array = 1 / (1 + np.exp(-x))
    return y


def _softmax(x: Array) -> Array:
    shifted: Array = np.exp(x - x.max(axis=1, keepdims=True))
    total: Array = shifted.sum(axis=1, keepdims=True)
    return shifted / total
