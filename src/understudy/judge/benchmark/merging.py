"""What merging an adapter into a model's weights, and rounding them, changed on a text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.adapters import Adapter
from understudy.errors import UsageError
from understudy.model import Model, load

WINDOW = 256  # tokens that are computed together


def compare_merged(
    source: str | Path, mix: Sequence[tuple[Adapter, float]], target: Path, text: str
) -> dict[str, float]:
    """Perplexities of a text under the model alone, with the adapters beside it, and merged; and
    the mean Kullback-Leibler divergence of the merged model from the one beside, in nats.

    Raises:
        UsageError: the text has no two tokens.
    """
    with load(source, adapter=None) as model, load(target, adapter=None) as merged:
        tokens = model.tokenizer.encode(text, add_special=True)
        if len(tokens) < 2:
            raise UsageError("the text is too short", where="--check")
        for number, (adapter, _) in enumerate(mix):
            model.adapters.add(f"a{number}", adapter)
        factors = {f"a{number}": factor for number, (_, factor) in enumerate(mix)}
        losses: list[NDArray[np.float64]] = []
        divergences: list[NDArray[np.float64]] = []
        for first in range(0, len(tokens) - 1, WINDOW):
            ids = tokens[first : first + WINDOW + 1]
            alone, beside, inside = _logprobs(model, merged, factors, ids[:-1])
            rows = np.arange(len(ids) - 1)
            losses.append(np.array([-p[rows, ids[1:]] for p in (alone, beside, inside)]))
            divergences.append((np.exp(beside) * (beside - inside)).sum(axis=-1))
    means = np.exp(np.concatenate(losses, axis=1).mean(axis=1))
    return {
        "perplexity of the model alone": float(means[0]),
        "perplexity with the adapter": float(means[1]),
        "perplexity merged": float(means[2]),
        "divergence of merged from adapter (nats)": float(np.concatenate(divergences).mean()),
        "tokens": float(len(tokens) - 1),
    }


def _logprobs(
    model: Model, merged: Model, factors: dict[str, float], ids: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    model.adapters.set_factors({})
    alone = model.logits(ids)
    model.adapters.set_factors(factors)
    return _normal(alone), _normal(model.logits(ids)), _normal(merged.logits(ids))


def _normal(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted: NDArray[np.float64] = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted
