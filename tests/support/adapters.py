"""Made-up adapters for made-up models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from understudy import core
from understudy.adapters import Adapter
from understudy.adapters.adapter import EMBEDDING, Pair, matrix_shapes
from understudy.spec import ModelSpec


def random_adapter(
    spec: ModelSpec,
    seed: int = 0,
    *,
    rank: int = 4,
    targets: Sequence[str] = ("_proj",),
    rslora: bool = False,
    strength: float = 1.0,
) -> Adapter:
    """An adapter of all matrices whose names end with `targets`, strong enough to be seen."""
    rng = np.random.default_rng([seed, 77])
    tensors: dict[str, Pair] = {}
    for matrix, (out, into) in matrix_shapes(spec).items():
        if not matrix.endswith(tuple(targets)):
            continue
        out, into = (into, out) if matrix == EMBEDDING else (out, into)
        a = rng.standard_normal((rank, into), dtype=np.float32)
        b = rng.standard_normal((out, rank), dtype=np.float32) / np.float32(rank)
        tensors[matrix] = (a / np.float32(np.sqrt(into)), b * np.float32(strength))
    return Adapter(f"random{seed}", rank, 2.0 * rank, rslora, tensors, metadata={"base": "org/m"})


def packed(
    model: core.CoreModel, adapter: Adapter, format: core.LowRankFormat
) -> core.PackedAdapter:
    """As the engine packs it."""
    matrices = {m: (*pair, adapter.scale_for(m)) for m, pair in adapter.tensors.items()}
    return core.PackedAdapter(model, matrices, format)
