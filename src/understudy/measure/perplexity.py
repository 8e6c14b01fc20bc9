"""Perplexity: e to the mean negative log-likelihood of a text's tokens.

The text is cut into windows of `context` tokens that do not overlap, as llama.cpp and most published figures do; with
`stride` < context the windows overlap and only the last `stride` tokens of each are scored (transformers' sliding window).
The first token of each window is not scored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from understudy import core
from understudy.errors import UsageError
from understudy.model import Model


@dataclass(frozen=True, slots=True)
class Perplexity:
    """`nll` is the mean negative log-likelihood in nats, `standard_error` that of `perplexity` (delta method)."""

    perplexity: float
    standard_error: float
    nll: float
    num_scored: int
    num_tokens: int
    context: int
    stride: int

    def as_dict(self) -> dict[str, float | int]:
        return asdict(self)


def perplexity(
    model: Model,
    tokens: Sequence[int],
    *,
    context: int | None = None,
    stride: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Perplexity:
    """Scores a text.

    Args:
        tokens: ids of the text.
        context: window length, default the model's context or 512, whichever is less.
        stride: scored tokens of each further window, default `context`.
        progress: called with (tokens done, tokens in all).

    Raises:
        UsageError: fewer than two tokens, or a window that cannot be.
    """
    window = min(model.context, 512) if context is None else context
    step = window if stride is None else stride
    if not 2 <= window <= model.context or not 1 <= step <= window:
        raise UsageError(
            "window is out of range", where="context, stride", expected=f"2 to {model.context}", found=[window, step]
        )
    ids = list(tokens)
    if len(ids) < 2:
        raise UsageError("a text of at least two tokens is needed", found=len(ids))
    losses: list[float] = []
    scored_to = 1
    for begin in range(0, len(ids) - 1, step):
        part = ids[begin : begin + window]
        if len(part) < 2 or begin + len(part) <= scored_to:
            break
        first_scored = max(1, scored_to - begin) if begin else 1
        losses += _losses(model, part)[first_scored - 1 :]
        scored_to = begin + len(part)
        progress(scored_to, len(ids))
        if scored_to >= len(ids):
            break
    values = np.asarray(losses)
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    value = math.exp(mean)
    return Perplexity(value, value * spread / math.sqrt(len(values)), mean, len(values), len(ids), window, step)


def _losses(model: Model, tokens: list[int]) -> list[float]:
    """Negative log-likelihood of tokens 1 … n - 1, each given those before it."""
    losses: list[float] = []
    for first, rows in model.iterate_logits(tokens):
        targets = tokens[first + 1 : first + 1 + len(rows)]
        if targets:
            losses += [-score[0] for score in core.logprobs(rows[: len(targets)], np.asarray(targets, np.int32), 0)]
    return losses
