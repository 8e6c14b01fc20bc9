"""How well a network predicts what is kept apart: losses with and without its adapters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import torch

from understudy.align.rows import RowTensors, Trained, as_base, row_loss
from understudy.compress.network import Network
from understudy.data.trees import Tree


def losses_by_part(network: Network, trees: Sequence[Tree]) -> dict[str, float]:
    """Mean loss per weighted token of each part, in nats."""
    sums: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = defaultdict(float)
    dtype = network.model.norm.weight.dtype
    with torch.no_grad():
        for tree in trees:
            row = RowTensors.of([tree], network.device, dtype)
            sums[tree.kind] += float(row_loss(network, row))
            weights[tree.kind] += float(tree.weights.sum())
    return {kind: sums[kind] / max(weights[kind], 1e-9) for kind in sums}


def before_and_after(
    network: Network, adapters: Trained, trees: Sequence[Tree]
) -> dict[str, tuple[float, float]]:
    """{part: (loss of the base, loss with the adapter)}."""
    after = losses_by_part(network, trees)
    with as_base(adapters):
        before = losses_by_part(network, trees)
    return {kind: (before[kind], after[kind]) for kind in after}
