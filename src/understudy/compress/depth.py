"""Which layers to keep when depth is cut: by block influence, by perplexity, or one contiguous block by the loss.

kept = choose_layers("influence", network, statistics, num_layers=20)
kept = choose_layers("contiguous", network, statistics, num_layers=20, rows=some_rows)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch

from understudy.compress.calibrate import Statistics
from understudy.compress.data import Rows
from understudy.compress.losses import cross_entropy
from understudy.compress.network import Network
from understudy.errors import UsageError


def choose_layers(
    method: str, network: Network, statistics: Statistics, num_layers: int, rows: Rows | None = None
) -> tuple[int, ...]:
    """Indices of the layers that stay, rising.

    influence: drop the layers that turn the stream least (ShortGPT). perplexity: drop the layers whose single removal
    costs the least loss on `rows`. contiguous: drop the one block whose removal costs the least (2408.11796).
    """
    total = network.spec.num_layers
    if num_layers == total:
        return tuple(range(total))
    if method not in DEPTH_METHODS:
        raise UsageError("unknown way to choose layers", found=method, expected=list(DEPTH_METHODS))
    if method != "influence" and rows is None:
        raise UsageError(f"choosing layers by {method} needs data", do="give rows of text")
    dropped = DEPTH_METHODS[method](network, statistics, total - num_layers, rows)
    return tuple(index for index in range(total) if index not in dropped)


def _by_influence(
    network: Network, statistics: Statistics, count: int, rows: Rows | None
) -> set[int]:
    del network, rows
    return set(np.argsort(statistics.scalars("influence"), kind="stable")[:count].tolist())


def _by_perplexity(
    network: Network, statistics: Statistics, count: int, rows: Rows | None
) -> set[int]:
    del statistics
    costs = _costs(network, rows, [{index} for index in range(network.spec.num_layers)])
    return set(np.argsort(costs, kind="stable")[:count].tolist())


def _contiguous(
    network: Network, statistics: Statistics, count: int, rows: Rows | None
) -> set[int]:
    del statistics
    blocks = [
        set(range(start, start + count)) for start in range(network.spec.num_layers - count + 1)
    ]
    return blocks[int(np.argmin(_costs(network, rows, blocks)))]


Method = Callable[[Network, Statistics, int, "Rows | None"], set[int]]
DEPTH_METHODS: dict[str, Method] = {
    "influence": _by_influence,
    "perplexity": _by_perplexity,
    "contiguous": _contiguous,
}


def _costs(network: Network, rows: Rows | None, removals: Sequence[set[int]]) -> list[float]:
    if rows is None:
        raise UsageError("choosing layers by loss needs data")
    return list(map(partial(loss_without, network, rows), removals))


@torch.no_grad()
def loss_without(network: Network, rows: Rows, dropped: set[int], batch_rows: int = 8) -> float:
    """Mean loss in nats per token when these layers are stepped over."""
    total = 0.0
    rotation = network.rotation(rows.mask.shape[1])
    for start in range(0, len(rows), batch_rows):
        tokens = torch.from_numpy(rows.tokens[start : start + batch_rows].astype(np.int64)).to(
            network.device
        )
        x = network.model.embed_tokens(tokens[:, :-1])
        for index, layer in enumerate(network.model.layers):
            if index not in dropped:
                x = layer(x, rotation)
        hidden, labels = network.model.norm(x).flatten(0, 1), tokens[:, 1:].flatten()
        total += cross_entropy(
            hidden, network.head_weight, labels, torch.ones_like(labels, dtype=torch.float32)
        ).item()
    return total / rows.num_tokens
